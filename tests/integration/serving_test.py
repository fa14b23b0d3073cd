#!/usr/bin/env python3
"""The API of a live two-rank MPI cluster: load, bad input, slow and vanishing clients."""
import concurrent.futures
import json
import re
import socket
import time
import unittest
import urllib.parse

import cluster


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cluster.Cluster("--max-running", "64", "--max-queue", "512").__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ask(self, number, stream):
        body = {"model": "demo-moe", "messages": [{"role": "user", "content": f"What does command {number % 20} do?"}],
                "max_tokens": 16, "temperature": 0}
        if not stream:
            answer = self.server.post("/v1/chat/completions", body, timeout=240)
            self.assertEqual(answer.status, 200, answer.body)
            return answer.json()["choices"][0]["message"]["content"]
        text = ""
        events = list(self.server.stream("/v1/chat/completions", body, timeout=240))
        self.assertEqual(events[-1], "[DONE]")
        for event in events[:-1]:
            text += json.loads(event)["choices"][0]["delta"].get("content") or ""
        return text

    def test_200_concurrent_streams_give_the_texts_of_lonely_ones(self):
        alone = [self.ask(n, False) for n in range(20)]
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            crowd = list(pool.map(lambda n: self.ask(n, True), range(200)))
        for number, text in enumerate(crowd):
            self.assertEqual(text, alone[number % 20])

    def raw(self, data, seconds=10, shutdown=False):
        parts = urllib.parse.urlsplit(self.server.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=seconds * cluster.PATIENCE) as s:
            s.sendall(data)
            if shutdown:
                s.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
            return answer

    def test_bad_requests_are_refused_with_their_field(self):
        chat = {"model": "demo-moe", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}
        for change, param in [({"temperature": 3}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"n": 0}, "n"),
                              ({"messages": []}, "messages"), ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
                              ({"stream_options": {"include_usage": True}}, "stream_options"), ({"max_tokens": 100000}, None),
                              ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
                              ({"response_format": {"type": "json_object"}}, "response_format"),
                              ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages")]:
            answer = self.server.post("/v1/chat/completions", {**chat, **change})
            self.assertEqual(answer.status, 400, (change, answer.body))
            error = answer.json()["error"]
            self.assertTrue(error["message"] and error["type"], error)
            if param:
                self.assertIn(param, error["param"] or "", (change, error))
        self.assertEqual(self.server.post("/v1/chat/completions", {**chat, "model": "nobody"}).status, 404)
        for body in (b"{", b"[]", b"", b'{"model": "\xff\xfe"}', b"[" * 100000, b'{"a":1}' * 3):
            self.assertEqual(self.server.post("/v1/chat/completions", body).status, 400, body[:20])

    def test_a_10_mb_body_is_refused(self):
        answer = self.server.post("/v1/completions", json.dumps({"model": "demo-moe", "prompt": "x" * 10_000_000}))
        self.assertEqual(answer.status, 413)
        self.assertIn("error", answer.json())

    def test_garbage_and_half_closed_sockets_do_not_hurt(self):
        self.assertIn(b" 400 ", self.raw(b"\x00\x01\x02 nonsense\r\n\r\n").split(b"\r\n")[0])
        self.raw(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", shutdown=True)
        body = json.dumps({"model": "demo-moe", "prompt": "x", "max_tokens": 3}).encode()
        half_closed = self.raw(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body), shutdown=True)
        # The end of a client's side means that it left: its request is cancelled and the connection closed at once.
        self.assertTrue(half_closed == b"" or half_closed.startswith(b"HTTP/1.1 "), half_closed)
        self.assertEqual(self.server.get("/health").status, 200)

    def test_a_vanishing_client_frees_its_slot(self):
        before = self.metric("conclave_generation_tokens_total")
        events = self.server.stream("/v1/completions", {"model": "demo-moe", "prompt": "x", "max_tokens": 1900, "ignore_eos": True})
        next(events)
        events.close()
        cluster.wait_for("no running request", lambda: self.metric("conclave_requests_running") == 0, 60)
        self.assertLess(self.metric("conclave_generation_tokens_total") - before, 1900, "it went on to its end")

    def metric(self, name):
        text = self.server.get("/metrics", url=self.server.admin_url).body.decode()
        values = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        self.assertTrue(values, f"{name} is not among the metrics")
        return sum(map(float, values))

    def test_metrics_move(self):
        before = self.metric("conclave_generation_tokens_total")
        self.ask(1, False)
        self.assertGreater(self.metric("conclave_generation_tokens_total"), before)

    def test_a_slow_client_is_told_and_dropped(self):
        parts = urllib.parse.urlsplit(self.server.url)
        deadline = time.monotonic() + 60 * cluster.PATIENCE
        with socket.create_connection((parts.hostname, parts.port), timeout=60 * cluster.PATIENCE) as s:
            s.settimeout(1)
            for byte in b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 100:
                try:
                    s.sendall(bytes([byte]))
                    answer = s.recv(1000)
                except (TimeoutError, socket.timeout):
                    self.assertLess(time.monotonic(), deadline, "a client of one byte a second was never dropped")
                    continue
                self.assertTrue(answer.startswith(b"HTTP/1.1 408"), answer)
                return
        self.fail("a client of one byte a second was never dropped")


if __name__ == "__main__":
    unittest.main(verbosity=2)
