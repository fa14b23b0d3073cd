#!/usr/bin/env python3
"""Model folders as people have them: what --model may be, whose settings are obeyed, and what is refused with a sentence."""
import contextlib
import json
import pathlib
import shutil
import tempfile
import unittest

import cluster

IDS = "1,497,401,228,62,6,49,11,18,508"
VERBS = (("generate", "-p", "x", "-n", "1"), ("tokenize",), ("logits", "--ids", "1", "--out", "/dev/null"), ("inspect", "--no-measure"),
         ("serve", "--port", "0", "--admin-port", "0"), ("eval", "--tokens", "/dev/null"),
         ("submit", "--nodes", "1", "--ranks-per-node", "1", "--dry-run"))


class Folders(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.root = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.addCleanup(self.stack.close)

    def copy(self, golden="qwen3_moe", **config):
        """A folder of the golden's files; config: keys to set, None deletes one."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        for file in (cluster.GOLDEN / golden).iterdir():
            if not file.name.startswith("golden"):
                shutil.copy(file, folder / file.name)
        values = json.loads((folder / "config.json").read_text())
        for key, value in config.items():
            values.pop(key, None)
            if value is not None:
                values[key] = value
        (folder / "config.json").write_text(json.dumps(values))
        return folder

    def logits(self, folder, *flags, ids=IDS):
        """The bytes of the logits, or the sentence of a refusal."""
        out = self.root / "logits"
        done = cluster.run("logits", "--model", folder, "--ids", ids, "--compute", "f32", "--out", out, *flags, check=False)
        if done.returncode == 0:
            return out.read_bytes()
        self.assertEqual(done.returncode, 3, done.stderr)
        return done.stderr.strip().split("\n")[-1]


class WhatModelMayBe(Folders):
    def test_every_verb_says_what_was_given_instead_of_a_folder(self):
        file = self.copy() / "config.json"
        for given, words in (("acme/demo", "hf download acme/demo"), (file, "is a file, but --model takes the folder that holds it"),
                             (f"{file}/", "is a file"), (self.root / "gone", "there is no such folder")):
            for verb, *flags in VERBS:
                with self.subTest(verb=verb, given=given):
                    done = cluster.run(verb, "--model", given, *flags, check=False, stdin="")
                    self.assertEqual(done.returncode, 3, done.stderr)
                    line = done.stderr.strip().split("\n")[-1]
                    self.assertIn(words, line)
                    self.assertNotIn("save_pretrained", line)

    def test_a_snapshot_of_the_hub_cache_has_the_models_name(self):
        model = self.root / "models--acme--demo"
        snapshot = model / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
        snapshot.mkdir(parents=True)
        (model / "blobs").mkdir()
        for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(cluster.DEMO / name, model / "blobs" / name)
            (snapshot / name).symlink_to(f"../../blobs/{name}")
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(snapshot.name)
        for given in (snapshot, f"{snapshot}/", model):
            with cluster.Cluster(model=given, ranks=1, transport="local", ready=False) as served:
                self.assertEqual(served.get("/v1/models").json()["data"][0]["id"], "acme/demo")


class Window(Folders):
    YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
    LONG = ",".join(str(3 + i % 500) for i in range(1400))

    def plain(self, scaling):
        return self.copy(rope_parameters=None, rope_theta=1e6, max_position_embeddings=1280, rope_scaling=scaling)

    def test_scaling_widens_it(self):
        for scaling, window in ((self.YARN, 4096), ({"rope_type": "linear", "factor": 2.0}, 2560)):
            folder = self.plain(scaling)
            self.assertIsInstance(self.logits(folder, ids=self.LONG), bytes)
            self.assertIsInstance(self.logits(folder, "--max-model-len", window), bytes)
            self.assertIn(f"the model's window is {window} tokens", self.logits(folder, "--max-model-len", window + 1))

    def test_dynamic_is_served_as_long_as_it_is_plain(self):
        without = self.copy(rope_parameters=None, rope_theta=1e6, max_position_embeddings=1280)
        folder = self.plain({"rope_type": "dynamic", "factor": 2.0})
        self.assertEqual(self.logits(folder), self.logits(without))
        self.assertIn("rope type dynamic", self.logits(folder, "--max-model-len", 2000))

    def test_inspect_and_the_others_take_the_same_lengths(self):
        folder = self.plain(self.YARN)
        for length in (1, 2, 16, 1280, 4096, 4097, 99999):
            with self.subTest(length=length):
                done = cluster.run("inspect", "--model", folder, "--no-measure", "-o", "json", "--max-model-len", length, check=False)
                answer = self.logits(folder, "--max-model-len", length, ids="1")
                self.assertEqual(done.returncode == 0, isinstance(answer, bytes), (done.stderr, answer))
                if done.returncode == 0:
                    told = json.loads(done.stdout)
                    self.assertEqual((told["window"], told["max_model_len"]), (4096, length))
                else:
                    self.assertEqual(done.stderr.strip(), answer)

    def test_two_tokens_are_enough_to_serve(self):
        with cluster.Cluster("--max-model-len", "2", ranks=1, transport="local") as served:
            self.assertEqual(served.get("/v1/models").json()["data"][0]["max_model_len"], 2)
            answer = served.post("/v1/completions", {"model": "demo-moe", "prompt": [5], "max_tokens": 1})
            self.assertEqual(answer.status, 200, answer.body)


class Config(Folders):
    def test_rope_scaling_beside_rope_parameters_has_an_effect_or_is_refused(self):
        default = {"rope_type": "default", "rope_theta": 1e6}
        linear = {"rope_type": "linear", "factor": 2.0}
        without = self.logits(self.copy(rope_parameters=default))
        both = self.logits(self.copy(rope_parameters=default, rope_scaling={**linear, "rope_theta": 1e6}))
        self.assertIsInstance(both, bytes)
        self.assertNotEqual(both, without)
        self.assertEqual(both, self.logits(self.copy(rope_parameters={**linear, "rope_theta": 1e6})))
        self.assertIn("would be lost", self.logits(self.copy(rope_parameters=default, rope_scaling=linear)))

    def test_spellings_do_not_change_a_bit(self):
        expected = self.logits(self.copy())
        for change in ({"hidden_act": "swish"}, {"dtype": "torch.bfloat16"}, {"layer_types": ["attention"] * 4}, {"partial_rotary_factor": 0.5},
                       {"router_aux_loss_coef": {"__float__": "Infinity"}}, {"logit_scale": 7}, {"use_cache": None}):
            self.assertEqual(self.logits(self.copy(**change)), expected, change)

    def test_an_index_entry_that_nobody_needs_is_noted(self):
        folder = self.copy()
        index = folder / "model.safetensors.index.json"
        values = json.loads(index.read_text())
        values["weight_map"]["model.layers.9.mtp.weight"] = "model-00001-of-00004.safetensors"
        index.write_text(json.dumps(values))
        self.assertEqual(self.logits(folder), self.logits(self.copy()))
        self.assertIn("model.layers.9.mtp.weight", cluster.run("inspect", "--model", folder, "--no-measure").stdout)
        values["weight_map"]["lm_head.weight"] = "model-00004-of-00004.safetensors"
        index.write_text(json.dumps(values))
        self.assertIn("lm_head.weight", self.logits(folder))

    def test_generation_settings_of_another_kind_are_refused_by_serve(self):
        folder = self.root / "beams"
        shutil.copytree(cluster.DEMO, folder)
        settings = json.loads((folder / "generation_config.json").read_text())
        (folder / "generation_config.json").write_text(json.dumps({**settings, "num_beams": 4}))
        flags = ("--ranks", "1", "--transport", "local", "--port", "0", "--admin-port", "0")
        done = cluster.run("serve", "--model", folder, *flags, check=False, timeout=60)
        self.assertEqual(done.returncode, 3)
        self.assertIn('generation_config.json: "num_beams" is 4, which asks for beam search', done.stderr)
        with cluster.Cluster("--generation-defaults", "none", model=folder, ranks=1, transport="local"):
            pass


if __name__ == "__main__":
    unittest.main()
