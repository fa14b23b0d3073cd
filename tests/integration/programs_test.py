#!/usr/bin/env python3
"""The command line as a user meets it: outputs, exit codes, one clear sentence for each mistake."""
import json
import pathlib
import shutil
import struct
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
                        ["tokenize"], ["ask"], ["bench"], ["bench", "engine"], ["bench", "serve"], ["bench", "coordinator"]):
            done = cluster.run(*command, "--help")
            self.assertIn("Exit codes:", done.stdout, command)


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
