#!/usr/bin/env python3
"""The official openai package, unmodified, against a live two-rank cluster (conformance list of the API page)."""
import asyncio
import concurrent.futures
import json
import re
import sys
import unittest

try:
    import openai
except ImportError:
    print("skipped: the openai package is not installed (scripts/test.sh installs it)")
    sys.exit(77)

import cluster

MODEL = "demo-moe"
TAR = [{"role": "user", "content": "What does tar do?"}]
ANSWER = "tar - an archiving utility"


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cluster.Cluster(f"--api-key-file={cls.key_file()}").__enter__()
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="sk-one", max_retries=0, timeout=120)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    @staticmethod
    def key_file():
        import tempfile
        file = tempfile.NamedTemporaryFile("w", delete=False, prefix="conclave-keys-")
        file.write("sk-one\nsk-two\n")
        file.close()
        return file.name

    def chat(self, **more):
        return self.client.chat.completions.create(**{"model": MODEL, "messages": TAR, "temperature": 0, **more})

    def complete(self, **more):
        return self.client.completions.create(**{"model": MODEL, "prompt": "In the beginning God created", "temperature": 0,
                                                 "max_tokens": 12, **more})

    # models, keys, errors
    def test_models(self):
        self.assertIn(MODEL, [m.id for m in self.client.models.list()])
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("nobody")
        with self.assertRaises(openai.NotFoundError):
            self.chat(model="nobody")

    def test_bad_key(self):
        for key in ("sk-three", "sk-on", "sk-one1"):
            with self.assertRaises(openai.AuthenticationError):
                self.client.with_options(api_key=key).models.list()
        self.assertTrue(self.client.with_options(api_key="sk-two").models.list().data)
        self.assertEqual(self.server.get("/health").status, 200)
        self.assertEqual(self.server.get("/ready").status, 200)
        self.assertEqual(self.server.get("/v1/models").status, 401)
        self.assertEqual(self.server.post("/tokenize", {"prompt": "x"}).status, 401)

    def test_bad_requests(self):
        for change in ({"temperature": 3}, {"top_logprobs": 21, "logprobs": True}, {"n": 0}, {"messages": []},
                       {"stream_options": {"include_usage": True}}, {"max_tokens": -1}, {"top_p": 2},
                       {"messages": [{"role": "user", "content": "x " * 5000}]}, {"logit_bias": {"x": 1}},
                       {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
                       {"response_format": {"type": "json_object"}}):
            with self.assertRaises(openai.BadRequestError, msg=str(change)) as raised:
                self.chat(**change)
            self.assertTrue(raised.exception.body["message"], change)
        with self.assertRaises(openai.BadRequestError):
            self.complete(suffix="x")

    # chat
    def test_chat_plain_and_streamed_agree(self):
        plain = self.chat()
        choice = plain.choices[0]
        self.assertEqual(choice.message.content, ANSWER)
        self.assertEqual((choice.finish_reason, choice.message.role), ("stop", "assistant"))
        self.assertEqual(plain.usage.prompt_tokens, 13)
        self.assertEqual(plain.usage.total_tokens, plain.usage.prompt_tokens + plain.usage.completion_tokens)
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(len({c.id for c in chunks}), 1)
        self.assertEqual(len({c.created for c in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, ANSWER)
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual((chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens),
                         (plain.usage.prompt_tokens, plain.usage.completion_tokens))
        self.assertTrue(all(c.usage is None for c in chunks[:-1]))
        self.assertEqual([c.choices[0].finish_reason for c in chunks if c.choices][-1], "stop")
        self.assertRegex(plain.system_fingerprint, r"^fp_")

    def test_chat_stream_helper(self):
        with self.client.chat.completions.stream(model=MODEL, messages=TAR, temperature=0) as stream:
            final = stream.get_final_completion()
        self.assertEqual(final.choices[0].message.content, ANSWER)

    def test_n_choices(self):
        many = dict(messages=[{"role": "user", "content": "Define courage."}], n=2, temperature=1.5, seed=7, max_tokens=20)
        answer = self.chat(**many)
        self.assertEqual([c.index for c in answer.choices], [0, 1])
        self.assertNotEqual(answer.choices[0].message.content, answer.choices[1].message.content)
        texts = ["", ""]
        for chunk in self.chat(**many, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        self.assertEqual(texts, [c.message.content for c in answer.choices])

    def test_seed(self):
        runs = [self.chat(temperature=1.5, seed=11, max_tokens=20).choices[0].message.content for _ in range(2)]
        self.assertEqual(runs[0], runs[1])
        others = {self.chat(temperature=1.5, seed=s, max_tokens=20).choices[0].message.content for s in range(6)}
        self.assertGreater(len(others), 1)

    def test_stop_strings_span_tokens(self):
        for stop in ("rchiving", ["zzz", "an arch"]):
            expected = ANSWER[:ANSWER.index(stop if isinstance(stop, str) else stop[1])]
            self.assertEqual(self.chat(stop=stop).choices[0].message.content, expected)
            self.assertEqual(self.chat(stop=stop).choices[0].finish_reason, "stop")
            text = "".join(c.choices[0].delta.content or "" for c in self.chat(stop=stop, stream=True))
            self.assertEqual(text, expected)

    def test_length(self):
        answer = self.chat(max_tokens=1)
        self.assertEqual((answer.choices[0].finish_reason, answer.usage.completion_tokens), ("length", 1))
        self.assertEqual(self.chat(max_completion_tokens=2, max_tokens=5).usage.completion_tokens, 2)

    def test_logit_bias_forces_a_token(self):
        token = self.server.post("/tokenize", {"model": MODEL, "prompt": "an"}, headers={"Authorization": "Bearer sk-one"}).json()["tokens"][0]
        answer = self.chat(logit_bias={str(token): 100}, max_tokens=3)
        self.assertEqual(answer.choices[0].message.content, "ananan")

    def test_chat_logprobs(self):
        content = self.chat(logprobs=True, top_logprobs=4).choices[0].logprobs.content
        self.assertEqual("".join(t.token for t in content if not t.token.startswith("<|")), ANSWER)
        for item in content:
            self.assertEqual(len(item.top_logprobs), 4)
            self.assertAlmostEqual(item.logprob, item.top_logprobs[0].logprob, places=5)
            self.assertLessEqual(item.logprob, 0)
        streamed = [t for c in self.chat(logprobs=True, top_logprobs=4, stream=True) if c.choices and c.choices[0].logprobs
                    for t in c.choices[0].logprobs.content]
        self.assertEqual([t.logprob for t in streamed], [t.logprob for t in content])

    # completions
    def test_completions(self):
        answer = self.complete()
        self.assertEqual(answer.choices[0].text, " the Lord, and said, I am not yet yet yet")
        self.assertEqual("".join(c.choices[0].text for c in self.complete(stream=True)), answer.choices[0].text)
        self.assertEqual(self.complete(max_tokens=openai.NOT_GIVEN, prompt="x", extra_body={"ignore_eos": True}).usage.completion_tokens, 16)

    def test_completion_prompts_of_every_kind(self):
        text = "In the beginning God created"
        ids = [827, 270, 3908, 1612, 2008]
        one = self.complete(prompt=text).choices[0].text
        self.assertEqual(self.complete(prompt=ids).choices[0].text, one)
        many = self.complete(prompt=[text, "static int"], n=2)
        self.assertEqual([c.index for c in many.choices], [0, 1, 2, 3])
        self.assertEqual(many.choices[0].text, one)
        self.assertEqual(self.complete(prompt=[ids, ids]).choices[1].text, one)

    def test_echo_and_logprobs(self):
        answer = self.complete(echo=True, logprobs=2, max_tokens=3).choices[0]
        self.assertTrue(answer.text.startswith("In the beginning God created"))
        logprobs = answer.logprobs
        self.assertEqual(len(logprobs.tokens), 8)
        self.assertIsNone(logprobs.token_logprobs[0])
        self.assertTrue(all(p <= 0 for p in logprobs.token_logprobs[1:]))
        self.assertEqual("".join(logprobs.tokens), answer.text)
        self.assertEqual(logprobs.text_offset, [sum(map(len, logprobs.tokens[:i])) for i in range(8)])
        only = self.complete(echo=True, logprobs=0, max_tokens=0).choices[0]
        self.assertEqual(only.text, "In the beginning God created")

    def test_extensions(self):
        answer = self.complete(max_tokens=30, extra_body={"ignore_eos": True, "min_tokens": 30})
        self.assertEqual(answer.usage.completion_tokens, 30)
        stopped = self.complete(max_tokens=30, extra_body={"stop_token_ids": [14]})
        self.assertEqual(stopped.choices[0].text, " the Lord")
        self.assertEqual(self.complete(extra_body={"top_k": 1, "unknown_field": 1}, temperature=1).choices[0].text, self.complete().choices[0].text)

    def test_multi_byte_text(self):
        tokens = self.server.post("/tokenize", {"model": MODEL, "prompt": "é😀漢"}, headers={"Authorization": "Bearer sk-one"}).json()["tokens"]
        back = self.server.post("/detokenize", {"model": MODEL, "tokens": tokens}, headers={"Authorization": "Bearer sk-one"}).json()
        self.assertEqual(back["prompt"], "é😀漢")
        # Bytes of characters in any order: a character that the stream cut would not be in the whole text.
        wanted = {"prompt": tokens, "max_tokens": 60, "temperature": 2, "seed": 5, "logit_bias": {str(t): 100 for t in tokens},
                  "extra_body": {"ignore_eos": True}}
        whole = self.complete(**wanted).choices[0].text
        pieces = [chunk.choices[0].text for chunk in self.complete(stream=True, **wanted)]
        self.assertEqual("".join(pieces), whole)
        self.assertTrue(any(character in whole for character in "é😀漢"), whole)

    # transport
    def test_request_id(self):
        raw = self.client.chat.completions.with_raw_response.create(model=MODEL, messages=TAR, max_tokens=1)
        self.assertTrue(raw.headers["x-request-id"])
        named = self.client.with_options(default_headers={"x-request-id": "mine-1"}).chat.completions.with_raw_response.create(
            model=MODEL, messages=TAR, max_tokens=1)
        self.assertEqual(named.headers["x-request-id"], "mine-1")

    def test_100_parallel_streams(self):
        def one(_):
            return "".join(c.choices[0].delta.content or "" for c in self.chat(stream=True))
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            self.assertEqual(set(pool.map(one, range(100))), {ANSWER})

    def test_async_client(self):
        async def ask():
            async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key="sk-one", max_retries=0) as client:
                answers = await asyncio.gather(*[client.chat.completions.create(model=MODEL, messages=TAR, temperature=0) for _ in range(8)])
                return {a.choices[0].message.content for a in answers}
        self.assertEqual(asyncio.run(ask()), {ANSWER})

    def test_disconnect_frees_the_slot(self):
        def metric(name):
            text = self.server.get("/metrics", url=self.server.admin_url).body.decode()
            return float(re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE).group(1))
        before = metric("conclave_generation_tokens_total")
        stream = self.complete(stream=True, max_tokens=1900, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
        cluster.wait_for("no running request", lambda: metric("conclave_requests_running") == 0, 60)
        self.assertLess(metric("conclave_generation_tokens_total") - before, 1900, "it went on to its end")


class Trouble(unittest.TestCase):
    def test_mid_stream_rank_kill_raises_and_the_next_request_heals(self):
        with cluster.Cluster() as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0, timeout=60)
            stream = client.completions.create(model=MODEL, prompt="x", max_tokens=1900, stream=True, extra_body={"ignore_eos": True})
            with self.assertRaises(openai.APIError):
                for number, _ in enumerate(stream):
                    if number == 5:
                        cluster.kill(server.rank_pids()[-1])
            with self.assertRaises((openai.InternalServerError, openai.APIError)):
                client.chat.completions.create(model=MODEL, messages=TAR)
            patient = client.with_options(max_retries=8)
            answer = patient.chat.completions.create(model=MODEL, messages=TAR, temperature=0)
            self.assertEqual(answer.choices[0].message.content, ANSWER)

    def test_a_full_queue_answers_429_and_retries_heal(self):
        with cluster.Cluster("--max-running", "1", "--max-queue", "1") as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0, timeout=60)

            def one(c):
                try:
                    return c.completions.create(model=MODEL, prompt="x", max_tokens=60, extra_body={"ignore_eos": True}).usage.completion_tokens
                except openai.RateLimitError as error:
                    self.assertIn("retry-after", error.response.headers)
                    return 429
            with concurrent.futures.ThreadPoolExecutor(12) as pool:
                results = list(pool.map(one, [client] * 12))
                self.assertIn(429, results)
                self.assertIn(60, results)
                healed = list(pool.map(one, [client.with_options(max_retries=20)] * 6))
            self.assertEqual(healed, [60] * 6)


if __name__ == "__main__":
    unittest.main(verbosity=2)
