#!/usr/bin/env python3
"""Where generation ends and which special tokens there are: one answer from all files of a folder."""
import json
import os
import pathlib
import tempfile
import unittest

import cluster

SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json")
END = "<|im_end|>"  # token 2 of the demo model


def folder_with(at, **changes):
    """The demo model, its weights linked. FILE=dict sets keys (None deletes one), FILE=None leaves the file out, FILE=text is its text."""
    folder = pathlib.Path(at)
    named = {name.replace("__", "."): change for name, change in changes.items()}
    for file in cluster.DEMO.iterdir():
        if file.is_file() and file.name not in SETTINGS and file.name not in named:
            os.symlink(file, folder / file.name)
    for name in {*SETTINGS, *named}:
        change = named.get(name, {})
        if change is None:
            continue
        if isinstance(change, dict):
            values = json.loads((cluster.DEMO / name).read_text()) if (cluster.DEMO / name).exists() else {}
            values.update(change)
            change = json.dumps({key: value for key, value in values.items() if value is not None})
        (folder / name).write_text(change)
    return folder


class Folder(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.at = place.name
        self.addCleanup(place.cleanup)

    def serve(self, **changes):
        return cluster.Cluster(model=folder_with(self.at, **changes), ranks=1, transport="local")


def chat(server, **fields):
    answer = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "tar?"}], "temperature": 0, **fields})
    return answer.json() if answer.status == 200 else answer.json()["error"]


def complete(server, **fields):
    return server.post("/v1/completions", {"prompt": "tar?", "temperature": 0, **fields}).json()


def ended(answer):
    return answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]


class EndOfText(Folder):
    def test_the_tokenizers_token_counts_beside_both_configs(self):
        with self.serve(config__json={"eos_token_id": 0}, generation_config__json={"eos_token_id": [5, -7, 900000]}) as server:
            for token in (0, 2, 5):
                self.assertEqual(ended(chat(server, max_tokens=6, logit_bias={str(token): 100})), ("stop", 0), token)
            self.assertEqual(ended(chat(server, max_tokens=6, logit_bias={"7": 100})), ("length", 6))
            self.assertIn("eos_token_id names -1, 900000, but the model's vocabulary ends at", server.log())

    def test_a_token_that_the_special_tokens_map_names_counts(self):
        with self.serve(config__json={"eos_token_id": None}, generation_config__json=None, tokenizer_config__json='{"tokenizer_class": "PreTrainedTokenizerFast"}',
                        special_tokens_map__json={"eos_token": {"content": END, "lstrip": False}}) as server:
            self.assertEqual(ended(complete(server, max_tokens=6, logit_bias={"2": 100})), ("stop", 0))
            self.assertNotIn("no end-of-text token", server.log())

    def test_no_token_at_all_is_said(self):
        changes = {"config__json": {"eos_token_id": None}, "generation_config__json": None, "tokenizer_config__json": '{"tokenizer_class": "PreTrainedTokenizerFast"}'}
        with self.serve(**changes) as server:
            self.assertEqual(ended(complete(server, max_tokens=6, logit_bias={"2": 100})), ("length", 6))
            self.assertIn("name no end-of-text token", server.log())
        shown = cluster.run("inspect", "--no-measure", "--model", self.at).stdout
        self.assertRegex(shown, r"ends at tokens +none")
        self.assertIn("name no end-of-text token", shown)
        said = cluster.run("generate", "--model", self.at, "-p", "a", "-n", "1", "--transport", "local").stderr
        self.assertIn("name no end-of-text token", said)

    def test_inspect_and_generate_know_all_of_them(self):
        folder = folder_with(self.at, config__json={"eos_token_id": 0}, generation_config__json={"eos_token_id": 5})
        shown = json.loads(cluster.run("inspect", "--no-measure", "-o", "json", "--model", folder).stdout)
        self.assertEqual(sorted(shown["eos_token_ids"]), [0, 2, 5])
        self.assertFalse([note for note in shown["notes"] if "end" in note and "token" in note])


class Stops(Folder):
    def test_a_special_token_stops_and_is_not_shown(self):
        with self.serve(config__json={"eos_token_id": 0}, generation_config__json=None, tokenizer_config__json={"eos_token": None, "additional_special_tokens": [END]}) as server:
            bias = {"2": 100}
            self.assertEqual(ended(chat(server, max_tokens=5, logit_bias=bias)), ("length", 5))
            for stop in (END, ["zzz", END]):
                answer = chat(server, max_tokens=5, logit_bias=bias, stop=stop)
                self.assertEqual((ended(answer), answer["choices"][0]["message"]["content"]), (("stop", 0), ""))
            shown = chat(server, max_tokens=5, logit_bias=bias, stop=END, skip_special_tokens=False, include_stop_str_in_output=True)
            self.assertEqual(shown["choices"][0]["message"]["content"], END)
            refused = chat(server, max_tokens=5, stop=["a", "x" + END])
            self.assertEqual(refused["param"], "stop[1]")
            self.assertIn(END, refused["message"])
            joined = chat(server, max_tokens=5, logit_bias=bias, stop=END + END, skip_special_tokens=False)
            self.assertEqual((joined["choices"][0]["finish_reason"], joined["choices"][0]["message"]["content"]), ("stop", ""))


class SpecialTokens(Folder):
    def test_every_named_token_is_a_variable_of_the_template(self):
        with self.serve(tokenizer_config__json={"bos_token": None, "eos_token": None, "tokenizer_class": "PreTrainedTokenizerFast", "image_token": "<img>",
                                                "extra_special_tokens": {"think": "<think>"}},
                        special_tokens_map__json={"bos_token": "<|im_start|>", "eos_token": {"content": END, "lstrip": False}, "pad_token": "<pad>"},
                        chat_template__jinja="[{{ bos_token }}][{{ eos_token }}][{{ pad_token }}][{{ image_token }}][{{ think }}][{{ cls_token is defined }}]") as server:
            # As strings: the model has no ids for the new tokens, so /detokenize would refuse them.
            request = {"messages": [{"role": "user", "content": "hi"}], "return_token_strs": True}
            text = "".join(server.post("/tokenize", request).json()["token_strs"])
            self.assertEqual(text, f"[<|im_start|>][{END}][<pad>][<img>][<think>][False]")

    def test_tokens_and_flags_of_the_settings_files_count(self):
        flags = {"lstrip": True, "rstrip": True, "normalized": False, "single_word": False, "special": True}
        plain = {**flags, "lstrip": False, "rstrip": False}
        folder = folder_with(self.at, tokenizer_config__json={"added_tokens_decoder": {"2": {**flags, "content": END}, "8192": {**plain, "content": "<tool>"}}})
        tokenize = lambda text: json.loads(cluster.run("tokenize", "--model", folder, stdin=text).stdout)
        self.assertEqual(tokenize(f"a  {END}  b<tool>b"), [67, 2, 68, 8192, 68])

    def test_flags_for_bos_and_eos_are_passed_over_as_in_transformers(self):
        for number, name in enumerate(("Qwen2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", "GPTNeoXTokenizer", "LlamaTokenizer")):
            at = pathlib.Path(self.at) / str(number)
            at.mkdir()
            folder = folder_with(at, tokenizer_config__json={"tokenizer_class": name, "bos_token": "<|im_start|>", "add_bos_token": True, "add_eos_token": True})
            self.assertEqual(json.loads(cluster.run("tokenize", "--model", folder, stdin="a b").stdout), [67, 286], name)

    def test_a_broken_settings_file_is_one_sentence_with_file_and_key(self):
        for number, (name, text, words) in enumerate((
                ("tokenizer_config.json", '{"eos_token": 5}', "tokenizer_config.json: eos_token"),
                ("special_tokens_map.json", '{"pad_token": ["x"]}', "special_tokens_map.json: pad_token"),
                ("added_tokens.json", '{"<x>": "5"}', 'added_tokens.json: the id of "<x>"'),
                ("added_tokens.json", "[]", "added_tokens.json: must be a JSON object"))):
            at = pathlib.Path(self.at) / str(number)
            at.mkdir()
            done = cluster.run("tokenize", "--model", folder_with(at, **{name.replace(".", "__"): text}), stdin="a", check=False)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn(words, done.stderr)
            self.assertEqual(done.stderr.strip().count("\n"), 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
