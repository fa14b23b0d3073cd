#!/usr/bin/env python3
"""The command line as a user meets it: outputs, exit codes, one clear sentence for each mistake."""
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import cluster


class Generate(unittest.TestCase):
    def test_answers_on_stdout_alone(self):
        done = cluster.run("generate", "--model", cluster.DEMO, "--chat", "What does tar do?", "--temperature", "0")
        self.assertEqual(done.stdout, "tar - an archiving utility\n")

    def test_json_output_and_mpi_give_the_same_ids(self):
        outputs = [json.loads(cluster.run("generate", "--model", cluster.DEMO, "--prompt", "In the beginning God created",
                                          "--max-tokens", "16", "-o", "json", "--ranks", ranks, "--transport", transport,
                                          "--seed", "1").stdout)
                   for ranks, transport in ((1, "local"), (2, "mpi"), (3, "local"))]
        golden = json.loads((cluster.DEMO / "golden.json").read_text())["prompts"][0]
        self.assertEqual(outputs[0]["prompt_ids"] + outputs[0]["ids"], golden["greedy"][:21])
        self.assertEqual(outputs[0], outputs[1])
        self.assertEqual(outputs[0], outputs[2])


def write_model(folder, layers=2, hidden=512, experts=32, intermediate=1024, vocab=512, tied=False):
    """A qwen3_moe folder of random bfloat16 weights, about 200 MB; returns the bytes of its tensors."""
    config = json.loads((cluster.GOLDEN / "qwen3_moe/config.json").read_text())
    config.update(hidden_size=hidden, num_hidden_layers=layers, num_local_experts=experts, vocab_size=vocab, mlp_only_layers=[],
                  moe_intermediate_size=intermediate, tie_word_embeddings=tied)
    heads, kv_heads, head_dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    shapes = {"model.embed_tokens.weight": [vocab, hidden], "lm_head.weight": [vocab, hidden], "model.norm.weight": [hidden]}
    if tied:
        del shapes["lm_head.weight"]
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes.update({prefix + "input_layernorm.weight": [hidden], prefix + "post_attention_layernorm.weight": [hidden],
                       prefix + "self_attn.q_proj.weight": [heads * head_dim, hidden],
                       prefix + "self_attn.k_proj.weight": [kv_heads * head_dim, hidden],
                       prefix + "self_attn.v_proj.weight": [kv_heads * head_dim, hidden],
                       prefix + "self_attn.o_proj.weight": [hidden, heads * head_dim],
                       prefix + "self_attn.q_norm.weight": [head_dim], prefix + "self_attn.k_norm.weight": [head_dim],
                       prefix + "mlp.gate.weight": [experts, hidden]})
        for expert in range(experts):
            for name, shape in (("gate", [intermediate, hidden]), ("up", [intermediate, hidden]), ("down", [hidden, intermediate])):
                shapes[f"{prefix}mlp.experts.{expert}.{name}_proj.weight"] = shape
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    rng = random.Random(1)
    # Values between 2^-7 and 2^-5 in size, of both signs.
    block = b"".join(struct.pack("<H", rng.choice([0x3C00, 0xBC00]) + rng.randrange(256)) for _ in range(1 << 16))
    (folder / "config.json").write_text(json.dumps(config))
    with open(folder / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        left = offset
        while left:
            left -= out.write(block[:left])
    return offset


@unittest.skipIf("ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ, "sanitizers need memory of their own")
class Memory(unittest.TestCase):
    def peak(self, model, folder):
        code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)")
        done = subprocess.run([sys.executable, "-c", code, cluster.BINARY, "logits", "--model", model, "--ids", "1,2,3",
                               "--kv-blocks", "4", "--max-model-len", "64", "--max-step-tokens", "16", "--compute", "bf16",
                               "--transport", "local", "--out", folder / "out"], capture_output=True, text=True, check=True,
                              timeout=120 * cluster.PATIENCE)
        return int(done.stdout)

    def test_loading_needs_little_more_than_the_weights(self):
        for shape in ({}, {"experts": 8, "vocab": 131072, "tied": True}):
            with self.subTest(shape), tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                weights = write_model(folder, **shape)
                program = self.peak(cluster.GOLDEN / "qwen3_moe", folder)  # what it needs without weights
                peak = self.peak(folder, folder) - program
                self.assertLessEqual(peak / weights, 1.15, f"peak {peak}, weights {weights}")
                self.assertGreaterEqual(peak / weights, 0.9, "the weights were not loaded")


class OtherCommands(unittest.TestCase):
    def test_tokenize_prints_a_json_array(self):
        golden = json.loads((cluster.DEMO / "golden.json").read_text())["prompts"][1]
        done = cluster.run("tokenize", "--model", cluster.DEMO, stdin=golden["text"])
        self.assertEqual(json.loads(done.stdout), golden["ids"])

    def test_inspect_knows_the_model(self):
        plan = json.loads(cluster.run("inspect", "--model", cluster.DEMO, "--ranks", "2", "-o", "json").stdout)
        self.assertEqual((plan["experts"], plan["top_k"], plan["layers"]), (32, 4, 8))
        self.assertEqual(plan["parameters"], 11849408)
        self.assertGreater(plan["read_bytes_per_second"], 0)

    def test_help_exists_everywhere(self):
        for command in ([], ["serve"], ["coordinator"], ["worker"], ["generate"], ["logits"], ["eval"], ["inspect"],
                        ["tokenize"], ["ask"], ["place"], ["profile"], ["simulate"], ["bench"], ["bench", "engine"], ["bench", "serve"], ["bench", "coordinator"],
                        ["bench", "simulate"], ["bench", "kernels"], ["bench", "metrics"], ["submit"], ["preflight"]):
            done = cluster.run(*command, "--help")
            self.assertIn("Exit codes:", done.stdout, command)


class Hang(unittest.TestCase):
    def test_an_offline_command_ends_when_a_rank_hangs(self):
        # A thread that hangs is left behind: ThreadSanitizer is right, and it is meant.
        # Beyond the steps of the start-up check.
        env = {"CONCLAVE_FAULT": "hang:rank=0,step=14,layer=2", "TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "") + ":report_thread_leaks=0"}
        for ranks, transport in ((1, "local"), (2, "local"), (2, "mpi")):
            done = cluster.run("generate", "--model", cluster.DEMO, "--prompt", "hi", "--ignore-eos", "--step-deadline-ms", "500", "--ranks", ranks,
                               "--transport", transport, env=env, check=False, timeout=90)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("rank 0", done.stderr)


class ConfigFile(unittest.TestCase):
    """A flag wins over its environment variable, which wins over the file."""

    def ids(self, *flags, env=None):
        done = cluster.run("generate", "--chat", "What does tar do?", "-o", "json", *flags, env=env)
        return len(json.loads(done.stdout)["ids"])

    def test_settings_come_from_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "settings.toml"
            path.write_text(f'model = "{cluster.DEMO}"\nmax-tokens = 3\ntemperature = 0\nprefix-cache = false\n')
            self.assertEqual(self.ids("--config", path), 3)
            self.assertEqual(self.ids(f"--config={path}", "--max-tokens", "2"), 2)
            self.assertEqual(self.ids(env={"CONCLAVE_CONFIG": str(path)}), 3)

    def test_serve_obeys_all_three_layers(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "settings.toml"
            path.write_text('served-model-name = "from-file"\nmax-queue = 7\n')
            for env, flags, name in (({}, (), "from-file"), ({"CONCLAVE_SERVED_MODEL_NAME": "from-env"}, (), "from-env"),
                                     ({"CONCLAVE_SERVED_MODEL_NAME": "from-env"}, ("--served-model-name", "from-flag"), "from-flag")):
                with cluster.Cluster("--config", str(path), *flags, ranks=1, transport="local", env=env) as server:
                    self.assertEqual(server.get("/v1/models").json()["data"][0]["id"], name)

    def test_mistakes_in_the_file_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "settings.toml"
            for text, names in (('api-key-fil = "x"', ["settings.toml", "api-key-fil"]), ("[serve]\nport = 1", ["settings.toml", "serve"]),
                                ("port = 99999999", ["port"])):
                path.write_text(text)
                done = cluster.run("serve", "--model", cluster.DEMO, "--config", path, check=False, timeout=60)
                self.assertNotEqual(done.returncode, 0)
                for name in names:
                    self.assertIn(name, done.stderr)
            done = cluster.run("serve", "--model", cluster.DEMO, "--config", "/nonexistent.toml", check=False, timeout=60)
            self.assertEqual(done.returncode, 3)
            self.assertIn("/nonexistent.toml", done.stderr)


class Mistakes(unittest.TestCase):
    def refuse(self, code, *arguments, names=()):
        done = cluster.run(*arguments, check=False, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        for name in names:
            self.assertIn(name, done.stderr)
        return done

    def test_wrong_usage_is_2(self):
        self.refuse(2, "generate", "--no-such-flag")
        self.refuse(2)

    def test_bad_values_are_3(self):
        self.refuse(3, "generate", "--model", cluster.DEMO, "--prompt", "x", "--transport", "pigeon", names=["pigeon", "mpi"])
        self.refuse(3, "generate", "--model", "/no/such/folder", "--prompt", "x", names=["/no/such/folder"])
        self.refuse(3, "logits", "--model", cluster.DEMO, "--ids", "1,99999", "--out", "/dev/null", names=["99999", "8191"])
        self.refuse(3, "generate", "--model", cluster.DEMO, "--prompt", "x", "--kv-memory", "lots", names=["lots"])

    def test_broken_models_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / "m"
            shutil.copytree(cluster.DEMO, model)
            good = (model / "model.safetensors").read_bytes()
            (model / "model.safetensors").write_bytes(good[:-100])
            for transport, ranks in (("local", 1), ("mpi", 2)):
                done = self.refuse(3, "generate", "--model", model, "--prompt", "x", "--transport", transport, "--ranks", ranks,
                                   names=["model.safetensors"])
                self.assertNotIn("terminate", done.stderr)
            length = struct.unpack("<Q", good[:8])[0]
            header = json.loads(good[8:8 + length])
            del header["model.norm.weight"]
            text = json.dumps(header).encode().ljust(length)
            (model / "model.safetensors").write_bytes(good[:8] + text + good[8 + length:])
            self.refuse(3, "inspect", "--model", model, names=["model.safetensors"])
            (model / "config.json").write_text('{"model_type":"llama"}')
            self.refuse(3, "generate", "--model", model, "--prompt", "x", names=["config.json", "llama", "qwen3_moe"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
