#!/usr/bin/env python3
"""Laws 3 and 4: a rank that dies or hangs is named, open streams get an error event, the group comes back,
and no process is left behind."""
import json
import signal
import time
import unittest

import cluster

LONG = {"model": "demo-moe", "prompt": "In the beginning", "max_tokens": 1500, "ignore_eos": True, "temperature": 0}


class DeadRank(unittest.TestCase):
    # Steps long enough for heartbeats (every 0.2 s) to fall into them.
    SLOW = {"CONCLAVE_FAULT": "slow:rank=0,ms=10"}

    def check_failure(self, server, hurt, rank=-1):
        """Starts a stream, hurts a rank, expects error event, named failure, recovery."""
        events = server.stream("/v1/completions", LONG)
        began = time.monotonic()
        while time.monotonic() - began < 0.6:
            self.assertIn("choices", json.loads(next(events)))
        victim = server.rank_pids()[rank]
        started = time.monotonic()
        hurt(victim)
        rest = list(events)
        noticed = time.monotonic() - started
        self.assertEqual(rest[-1], "[DONE]")
        error = json.loads(rest[-2])["error"]
        self.assertRegex(error["message"], r"rank \d")
        self.assertLess(noticed, 5 * cluster.PATIENCE, "far beyond the promise of 2 s")
        health = server.get("/health").json()
        text = json.dumps(health)
        self.assertRegex(text, r"rank \d+ \(host [^)]+\)")
        # Layer -1: where nobody outlives the kill, the last heartbeat may be from between two steps.
        self.assertRegex(error["message"], r"layer (\d+|-1), operation '[^']+'")
        self.assertRegex(error["message"], r"\d\.\d+ s")
        cluster.wait_for("recovery", lambda: server.get("/ready").status == 200, 60)
        self.assertFalse(cluster.alive(victim), "the old rank is gone")
        answer = server.post("/v1/completions", {**LONG, "max_tokens": 8})
        self.assertEqual(answer.status, 200, answer.body)
        return noticed, error["message"]

    def test_killed_rank_is_named_and_replaced(self):
        for transport, rank in (("mpi", 0), ("mpi", 1), ("local", 0)):
            with cluster.Cluster(transport=transport, env=self.SLOW) as server:
                noticed, message = self.check_failure(server, cluster.kill, rank)
                print(f"{transport}: killed rank {rank} noticed after {noticed:.2f} s: {message}")

    def test_hanging_rank_is_named_and_replaced(self):
        for rank in (0, 1):
            with cluster.Cluster(env=self.SLOW) as server:
                noticed, message = self.check_failure(server, lambda pid: cluster.kill(pid, signal.SIGSTOP), rank)
                print(f"stopped rank {rank} noticed after {noticed:.2f} s: {message}")

    def test_ready_falls_while_the_group_is_down(self):
        with cluster.Cluster() as server:
            for pid in server.rank_pids():
                cluster.kill(pid)
            cluster.wait_for("not ready", lambda: server.get("/ready").status == 503, 60)
            cluster.wait_for("ready again", lambda: server.get("/ready").status == 200, 60)


class NoOrphans(unittest.TestCase):
    def processes(self, server):
        return cluster.descendants(server.process.pid)

    def test_after_kill_9_of_the_coordinator(self):
        for transport in ("mpi", "local"):
            with cluster.Cluster(transport=transport) as server:
                below = self.processes(server)
                self.assertGreaterEqual(len(below), 1)
                cluster.kill(server.process.pid)
                server.process.wait()
                cluster.wait_for("all processes gone", lambda: not any(map(cluster.alive, below)), 60)

    def test_an_interrupt_ends_open_streams_with_an_error(self):
        with cluster.Cluster(env=DeadRank.SLOW) as server:
            events = server.stream("/v1/completions", LONG)
            next(events)
            server.process.send_signal(signal.SIGINT)
            rest = list(events)
            self.assertEqual(rest[-1], "[DONE]")
            self.assertIn("shutting down", json.loads(rest[-2])["error"]["message"])
            self.assertEqual(server.process.wait(20 * cluster.PATIENCE), 130)

    def test_after_ctrl_c(self):
        with cluster.Cluster() as server:
            below = self.processes(server)
            server.process.send_signal(signal.SIGINT)
            server.process.wait(20 * cluster.PATIENCE)
            cluster.wait_for("all processes gone", lambda: not any(map(cluster.alive, below)), 60)


class Drain(unittest.TestCase):
    def test_requests_that_outlast_the_drain_end_with_an_error(self):
        with cluster.Cluster("--drain-timeout-s", "1", env=DeadRank.SLOW) as server:
            events = server.stream("/v1/completions", LONG)
            next(events)
            server.process.terminate()
            rest = list(events)
            self.assertEqual(rest[-1], "[DONE]")
            self.assertIn("shutting down", json.loads(rest[-2])["error"]["message"])
            self.assertEqual(server.process.wait(20 * cluster.PATIENCE), 0, server.log())
            self.assertIn("before all requests were finished", server.log())

    def test_sigterm_finishes_open_requests_refuses_new_ones_and_exits_0(self):
        with cluster.Cluster() as server:
            events = server.stream("/v1/completions", {**LONG, "max_tokens": 400})
            next(events)
            server.process.terminate()
            cluster.wait_for("draining", lambda: server.get("/ready").status == 503, 60)
            refused = server.post("/v1/completions", {**LONG, "max_tokens": 1})
            self.assertEqual(refused.status, 503)
            self.assertIn("retry-after", {k.lower() for k in refused.headers})
            rest = list(events)
            self.assertEqual(rest[-1], "[DONE]")
            self.assertEqual(json.loads(rest[-2])["choices"][0]["finish_reason"], "length")
            self.assertEqual(server.process.wait(30 * cluster.PATIENCE), 0, server.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
