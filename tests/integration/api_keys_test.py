#!/usr/bin/env python3
"""Keys of the API: shares, priorities, a reload while requests run, files that others may write."""
import contextlib
import json
import os
import pathlib
import re
import signal
import tempfile
import threading
import unittest

import cluster

KEYS = "alpha name=team-a\nbeta name=team-b weight=2 best_priority=-5\ngamma\n"


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


class Flood:
    """So many requests of one key at once, each until it is told to stop or its tokens are used up."""

    def __init__(self, server, key, count, max_tokens):
        self.server, self.key, self.max_tokens = server, key, max_tokens
        self.statuses, self.lock, self.connections = [], threading.Lock(), []
        self.threads = [threading.Thread(target=self._one, daemon=True) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        with self.lock:
            open_connections = list(self.connections)
        for connection in open_connections:
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(2)
        for thread in self.threads:
            thread.join(60 * cluster.PATIENCE)

    def _one(self):
        body = {"model": "demo-moe", "prompt": "flood", "max_tokens": self.max_tokens, "ignore_eos": True, "stream": True}
        connection = self.server.connection()
        with self.lock:
            self.connections.append(connection)
        with contextlib.suppress(Exception):
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json", **bearer(self.key)})
            answer = connection.getresponse()
            with self.lock:
                self.statuses.append(answer.status)
            answer.read()
        connection.close()


class KeyFile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name) / "keys"
        self.path.write_text(KEYS)

    def serve(self, *flags, **more):
        server = cluster.Cluster("--api-key-file", str(self.path), *flags, **{"ranks": 1, "transport": "local", **more})
        self.addCleanup(server.__exit__)
        return server.__enter__()

    def status(self, server, key):
        return server.get("/v1/models", headers=bearer(key)).status

    def ask(self, server, key, timeout=60, **change):
        body = {"model": "demo-moe", "prompt": "b", "max_tokens": 4, "ignore_eos": True, **change}
        return server.post("/v1/completions", body, headers=bearer(key), timeout=timeout)

    def metric(self, server, name, **labels):
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in server.get("/metrics", url=server.admin_url).body.decode().splitlines():
            match = re.fullmatch(rf"{name}{{(.*)}} (\S+)", line)
            if match and wanted <= set(match[1].split(",")):
                return float(match[2])
        return None

    def test_one_keys_long_answers_do_not_keep_another_waiting(self):
        server = self.serve("--max-running", "4")
        with Flood(server, "alpha", 24, 900):
            cluster.wait_for("the flood", lambda: self.metric(server, "conclave_key_requests_waiting", key="team-a") == 20)
            for _ in range(3):
                self.assertEqual(self.ask(server, "beta").status, 200)
            # All places were taken by answers of 900 tokens; not one has ended.
            open_requests = self.metric(server, "conclave_key_requests_waiting", key="team-a") + \
                self.metric(server, "conclave_key_requests_running", key="team-a")
            self.assertEqual(open_requests, 24)
            requests = server.get("/admin/v1/requests", url=server.admin_url).json()["requests"]
            self.assertEqual({request["key"] for request in requests}, {"team-a"})
        cluster.wait_for("the counts", lambda: self.metric(server, "conclave_key_tokens_total", key="team-b", kind="generation") == 12)
        self.assertEqual(self.metric(server, "conclave_key_requests_waiting", key="team-b"), 0)

    def test_a_full_queue_refuses_who_filled_it(self):
        server = self.serve("--max-running", "2", "--max-queue", "6")
        with Flood(server, "alpha", 12, 900) as flood:
            cluster.wait_for("refusals", lambda: flood.statuses.count(429) == 4)
            answer = self.ask(server, "beta")
            self.assertEqual(answer.status, 200, answer.body)
            refused = self.ask(server, "alpha")
            self.assertEqual(refused.status, 429)
            self.assertIn("wait already", refused.json()["error"]["message"])

    def test_priorities_are_the_keys(self):
        server = self.serve()
        for key, lowest in (("alpha", 0), ("gamma", 0), ("beta", -5)):
            self.assertEqual(self.ask(server, key, priority=lowest).status, 200)
            self.assertEqual(self.ask(server, key, priority=100).status, 200)
            answer = self.ask(server, key, priority=lowest - 1)
            self.assertEqual(answer.status, 400)
            error = answer.json()["error"]
            self.assertEqual(error["param"], "priority")
            self.assertIn(f"allows {lowest} or more", error["message"])
            self.assertNotIn(key, error["message"])
        chat = {"model": "demo-moe", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "priority": -1}
        self.assertEqual(server.post("/v1/chat/completions", chat, headers=bearer("alpha")).status, 400)

    def test_hangup_reads_keys_again_and_ends_nothing(self):
        log = pathlib.Path(self.folder.name) / "log"
        server = self.serve("--log-file", str(log), ranks=2, transport="mpi")
        self.assertEqual(log.stat().st_mode & 0o777, 0o640)
        ranks = server.rank_pids()
        self.assertEqual(len(ranks), 2)
        tokens = []

        def stream():
            connection = server.connection()
            body = {"model": "demo-moe", "prompt": "b", "max_tokens": 600, "ignore_eos": True, "stream": True,
                    "stream_options": {"include_usage": True}}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json", **bearer("alpha")})
            tokens.extend(line for line in connection.getresponse() if line.startswith(b"data: "))
            connection.close()

        thread = threading.Thread(target=stream)
        thread.start()
        cluster.wait_for("the stream", lambda: self.metric(server, "conclave_key_requests_running", key="team-a") == 1)
        log.rename(log.with_suffix(".1"))
        self.path.write_text("delta name=team-d\nbeta name=team-b\n")
        for pid in (*cluster.descendants(server.process.pid), server.process.pid):
            os.kill(pid, signal.SIGHUP)
        cluster.wait_for("the new key", lambda: self.status(server, "delta") == 200)
        self.assertEqual(self.status(server, "alpha"), 401)  # withdrawn
        self.assertEqual(self.status(server, "beta"), 200)
        thread.join(120 * cluster.PATIENCE)
        self.assertEqual(tokens[-1].strip(), b"data: [DONE]")  # of a key that is there no more
        self.assertIn(b'"completion_tokens":600', tokens[-2])

        for text, mode, why in (("epsilon weigth=2\n", 0o600, "keys:1: word 2 is no setting"), ("# none\n", 0o600, "holds no key"),
                                ("epsilon\n", 0o606, "everyone may write")):
            self.path.write_text(text)
            self.path.chmod(mode)
            server.process.send_signal(signal.SIGHUP)
            cluster.wait_for(why, lambda why=why: why in log.read_text())
            self.assertEqual((self.status(server, "delta"), self.status(server, "epsilon")), (200, 401))
        self.path.unlink()
        server.process.send_signal(signal.SIGHUP)
        cluster.wait_for("no file", lambda: "is no file any more" in log.read_text())
        self.assertEqual(self.status(server, "delta"), 200)
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.rank_pids(), ranks)
        self.assertNotIn("delta", log.read_text() + log.with_suffix(".1").read_text())
        self.assertEqual(server.log(), "")

    def test_the_admin_listeners_keys_are_read_again_as_well(self):
        admin = pathlib.Path(self.folder.name) / "admin-keys"
        admin.write_text("one\n")
        admin.chmod(0o600)
        server = self.serve("--admin-key-file", str(admin))

        def status(key):
            return server.get("/admin/v1/status", url=server.admin_url, headers=bearer(key)).status

        self.assertEqual((status("one"), status("two")), (200, 401))
        admin.write_text("two\n")
        server.process.send_signal(signal.SIGHUP)
        cluster.wait_for("the new key", lambda: status("two") == 200)
        self.assertEqual(status("one"), 401)

    def test_files_that_others_may_write_are_refused(self):
        for flag in ("--api-key-file", "--admin-key-file"):
            for mode, who in ((0o666, "everyone"), (0o602, "everyone"), (0o660, "group")):
                self.path.chmod(mode)
                done = cluster.run("serve", "--model", cluster.DEMO, "--ranks", 1, "--transport", "local", "--port", 0, "--admin-port", 0,
                                   flag, self.path, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{self.path}: ", done.stderr)
                self.assertIn(who, done.stderr)
                self.assertIn("chmod go-w", done.stderr)
        self.path.chmod(0o644)
        self.assertEqual(self.status(self.serve(), "alpha"), 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
