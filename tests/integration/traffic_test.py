#!/usr/bin/env python3
"""What a cluster counts on the wire is what the placement evaluator says of the routing recorded in that very run: every
message and byte, by plan and direction, with searched tables, replicas, homes that move and tables that change."""
import json
import pathlib
import re
import tempfile
import threading
import unittest

import cluster

RANKS = 4
COUNTER = re.compile(r'^conclave_exchange_(messages|bytes)_total\{(.*)\} (\S+)$', re.MULTILINE)


def counted(server):
    """{(plan, direction): {messages, bytes}} over all ranks."""
    sums = {}
    for what, labels, value in COUNTER.findall(server.get("/metrics", url=server.admin_url).body.decode()):
        label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        entry = sums.setdefault((label["plan"], label["direction"]), {"messages": 0, "bytes": 0})
        entry[what] += int(float(value))
    return sums


def ask(server):
    """Prompts of several lengths at once, greedy and sampled; some answers are cut short."""
    def one(key):
        body = {"model": "demo-moe", "prompt": f"{key} " + "What does tar do? " * (1 + 3 * key), "max_tokens": 12 + 4 * key,
                "seed": key, "temperature": 0.8 if key % 2 else 0}
        answers.append(server.post("/v1/completions", body).status)
    answers = []
    threads = [threading.Thread(target=one, args=(key,)) for key in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class TrafficTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.table = pathlib.Path(cls.folder.name) / "table.json"
        cluster.run("place", "--trace", cluster.ROOT / "tests/golden/traces/demo_4_sequences.safetensors", "--model", cluster.DEMO,
                    "--ranks", RANKS, "--objective", "messages", "--max-imbalance", "1.5", "--replicas", "1", "--time-limit", "2",
                    "--out", cls.table)
        holders = [len(ranks) for row in json.loads(cls.table.read_text())["assignment"] for ranks in row]
        assert max(holders) > 1, "the table has no replicas"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def recorded_run(self, name, *flags, during=None):
        """Serves some requests; returns the counters of the run and what the evaluator says of its recording."""
        path = pathlib.Path(self.folder.name) / f"{name}.safetensors"
        with cluster.Cluster("--placement", str(self.table), "--record-routing", str(path), "--kv-blocks", "60", *flags,
                             ranks=RANKS) as server:
            self.assertEqual(ask(server), [200] * 8)
            if during:
                during(server)
            self.assertEqual(ask(server), [200] * 8)
            metrics = counted(server)
        evaluated = json.loads(cluster.run("traffic", "--recording", path, "-o", "json").stdout)
        self.assertTrue(evaluated["complete"])
        return path, metrics, evaluated

    def expect_equal(self, metrics, evaluated):
        for (plan, direction), sums in metrics.items():
            self.assertEqual(sums, evaluated["plans"][plan][direction], f"{plan}, {direction}")

    def test_fixed(self):
        path, metrics, evaluated = self.recorded_run("fixed", "--plan", "fixed")
        self.expect_equal(metrics, evaluated)
        self.assertGreater(metrics["fixed", "dispatch"]["messages"], 1000)
        self.assertEqual(metrics["coherent", "dispatch"]["messages"], 0)
        self.assertGreater(evaluated["moved_homes"], 0)
        # The recording is a trace like any other.
        placed = json.loads(cluster.run("place", "--trace", path, "--ranks", "2", "--solver", "contiguous", "-o", "json").stdout)
        self.assertIn("objective_after", json.dumps(placed))

    def test_coherent_while_experts_move(self):
        def reverse(server):
            table = server.get("/admin/v1/placement", url=server.admin_url).json()["table"]
            for row in table["assignment"]:
                row.reverse()
            answer = server.post("/admin/v1/placement/apply", {"table": table}, url=server.admin_url)
            self.assertEqual(answer.status, 202, answer.body)
            cluster.wait_for("the new placement", lambda: server.get("/admin/v1/placement", url=server.admin_url)
                             .json()["pending"] is None, 60)
        _, metrics, evaluated = self.recorded_run("coherent", "--plan", "coherent", during=reverse)
        self.expect_equal(metrics, evaluated)
        for plan, direction in [("fixed", "dispatch"), ("fixed", "return"), ("coherent", "dispatch"), ("coherent", "return"),
                                ("coherent", "key_value")]:
            self.assertGreater(metrics[plan, direction]["messages"], 0, f"{plan}, {direction}")
        self.assertGreater(evaluated["placement_tables"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
