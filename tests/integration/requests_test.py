#!/usr/bin/env python3
"""What a request asks for is obeyed or refused, and one client's requests do not hold up another's: over a real server."""
import gzip
import json
import socket
import time
import unittest

import cluster

MODEL = "demo-moe"
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HI = [{"role": "user", "content": "hi"}]
# The wish for a certain shape of the answer, as other servers spell it, and other wishes that would change it.
UNMET = {"guided_json": {"type": "object"}, "guided_choice": ["yes", "no"], "guided_regex": "[0-9]+", "guided_grammar": "root ::= x",
         "structured_outputs": {"choice": ["yes", "no"]}, "grammar": 'root ::= "a"', "json_schema": {}, "regex": "a+",
         "bad_words": ["no"], "allowed_token_ids": [1, 2], "truncate_prompt_tokens": 5, "continue_final_message": True, "use_beam_search": True,
         "best_of": 3, "length_penalty": 0.5, "early_stopping": True, "mirostat": 2, "dry_multiplier": 0.8, "xtc_probability": 0.5,
         "typical_p": 0.5, "n_predict": 5, "repeat_penalty": 1.1, "samplers": ["top_k"], "lora": [{"id": 0, "scale": 1}],
         "logits_processors": ["x"], "prompt_logprobs": 1, "kv_transfer_params": {"a": 1}, "mm_processor_kwargs": {"a": 1},
         "tools": [{"type": "function", "function": {"name": "f"}}]}
# Values that ask for nothing.
NEUTRAL = {"use_beam_search": False, "best_of": 1, "length_penalty": 1.0, "early_stopping": False, "mirostat": 0, "dry_multiplier": 0.0,
           "xtc_probability": 0, "typical_p": 1.0, "repeat_penalty": 1.0, "continue_final_message": False, "guided_json": None,
           "reasoning_effort": None, "tools": [], "grammar": ""}


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cluster.Cluster(ranks=1, transport="local").__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ask(self, path=CHAT, **fields):
        prompt = {"messages": HI} if path == CHAT else {"prompt": "hi"}
        return self.server.post(path, {**prompt, "max_tokens": 1, **fields})

    def test_what_would_change_the_answer_is_refused_by_name(self):
        for path in (CHAT, COMPLETIONS):
            for name, value in UNMET.items():
                answer = self.ask(path, **{name: value})
                self.assertEqual((answer.status, answer.json().get("error", {}).get("param")), (400, name), path)
        answer = self.ask(stream=True, stream_options={"continuous_usage_stats": True})
        self.assertEqual(answer.json()["error"]["param"], "stream_options.continuous_usage_stats")

    def test_what_asks_for_nothing_is_let_pass(self):
        for path in (CHAT, COMPLETIONS):
            for name, value in NEUTRAL.items():
                self.assertEqual(self.ask(path, **{name: value}).status, 200, (path, name))

    def test_a_request_without_a_model_is_served(self):
        for path in (CHAT, COMPLETIONS):
            answer = self.ask(path)
            self.assertEqual((answer.status, answer.json()["model"]), (200, MODEL))
        self.assertEqual(self.ask(model="another").status, 404)

    def test_bodies_that_are_not_understood_are_named(self):
        body = json.dumps({"prompt": "hi", "max_tokens": 1}).encode()
        answer = self.server.request("POST", COMPLETIONS, gzip.compress(body), {"Content-Encoding": "gzip"})
        self.assertEqual(answer.status, 415)
        self.assertIn("gzip", answer.json()["error"]["message"])
        self.assertEqual(self.server.request("POST", COMPLETIONS, body, {"Content-Encoding": "identity"}).status, 200)
        utf16 = {"Content-Type": "application/json; charset=utf-16"}
        self.assertEqual(self.server.request("POST", COMPLETIONS, body.decode().encode("utf-16"), utf16).status, 415)

    def test_a_text_that_cannot_fit_is_refused_with_its_size(self):
        answer = self.ask(COMPLETIONS, prompt=" " * 7_900_000)
        error = answer.json()["error"]
        self.assertEqual((answer.status, error["code"], error["param"]), (400, "context_length_exceeded", "prompt"))
        self.assertIn("7900000 bytes", error["message"])

    def begin(self, path, body):
        """Sends a request without waiting for its answer."""
        connection = self.server.connection()
        data = json.dumps(body)
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        return connection

    @staticmethod
    def answered(connection):
        connection.sock.setblocking(False)
        try:
            return bool(connection.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            connection.sock.setblocking(True)

    def test_long_texts_of_others_do_not_hold_up_a_short_one(self):
        # /tokenize reads a text to its end, and one word of millions of characters is the hardest.
        long_ones = [self.begin("/tokenize", {"prompt": " " * 7_900_000}) for _ in range(6)]
        try:
            time.sleep(0.3)
            answer = self.ask(COMPLETIONS, user="u" * 40_000)
            finished = sum(map(self.answered, long_ones))
            self.assertEqual(answer.status, 200)
            self.assertLess(finished, len(long_ones), "it waited for all of them")
        finally:
            for connection in long_ones:
                connection.close()
        # Whoever has left costs nothing more: another long text is answered.
        self.assertEqual(self.server.post("/tokenize", {"prompt": " " * 1_000_000}).json()["count"], 31250)

    def test_a_large_answer_comes_in_pieces(self):
        connection = self.begin(CHAT, {"messages": HI, "n": 128, "logprobs": True, "top_logprobs": 20, "max_tokens": 16, "min_tokens": 16})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.getheader("Transfer-Encoding"), "chunked")
        choices = json.loads(answer.read())["choices"]
        connection.close()
        self.assertEqual([c["index"] for c in choices], list(range(128)))
        for choice in choices:
            self.assertEqual([len(t["top_logprobs"]) for t in choice["logprobs"]["content"]], [20] * 16)


if __name__ == "__main__":
    unittest.main(verbosity=2)
