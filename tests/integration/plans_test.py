#!/usr/bin/env python3
"""The plans of a cluster: coherent and auto give the texts of fixed, with homes matched or spread, under load, with a K/V
memory so small that sequences are preempted; what cannot run says so."""
import json
import os
import pathlib
import tempfile
import threading
import unittest

import cluster

KEYS = range(8)


def body_of(key):
    return {"model": "demo-moe", "prompt": "item " * (1 + 9 * key), "max_tokens": 10 + 3 * key, "seed": key,
            "temperature": 0.9 if key % 2 else 0}


def texts(server, clients=4):
    """The answers of all keys, asked by several clients at once, each key twice."""
    found, lock = {}, threading.Lock()

    def ask(keys):
        for key in keys:
            answer = server.post("/v1/completions", body_of(key))
            text = answer.json()["choices"][0]["text"] if answer.status == 200 else answer.body
            with lock:
                found.setdefault(key, set()).add(text)
    jobs = [list(KEYS)[n::clients] + list(KEYS)[(n + 1) % clients::clients] for n in range(clients)]
    threads = [threading.Thread(target=ask, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Plans(unittest.TestCase):
    def test_every_plan_gives_the_same_texts(self):
        with cluster.Cluster("--homes", "spread", ranks=1, transport="local") as server:
            expected = texts(server, clients=1)
        self.assertTrue(all(len(answers) == 1 for answers in expected.values()))
        for flags, ranks in [(("--plan", "fixed", "--homes", "matched", "--kv-blocks", "60"), 4),
                             (("--plan", "coherent", "--kv-blocks", "30"), 4),
                             (("--plan", "auto", "--kv-blocks", "60"), 2)]:
            with self.subTest(flags=flags), cluster.Cluster(*flags, ranks=ranks) as server:
                self.assertEqual(texts(server), expected)
                if "auto" in flags:
                    self.assertIn("chose the parallel plan", server.log())
                metrics = server.get("/metrics", url=server.admin_url).body.decode()
                self.assertIn("conclave_rank_tokens_total", metrics)

    def test_auto_counts_on_a_profile_if_it_has_one(self):
        with tempfile.TemporaryDirectory() as folder:
            profile = pathlib.Path(folder) / "profile.safetensors"
            cluster.run("profile", "--trace", cluster.ROOT / "tests/golden/traces/demo_4_sequences.safetensors", "--out", profile)
            for flags, routing in [((), "uniform"), (("--profile", profile), "profile")]:
                with cluster.Cluster("--plan", "auto", "--kv-blocks", "60", *map(str, flags), ranks=2) as server:
                    self.assertRegex(server.log(), rf"chose the parallel plan.*routing=\"?{routing}")
                    tokens = server.get("/admin/v1/profile", url=server.admin_url).json()["tokens"]
                    if flags:
                        self.assertGreater(tokens, 100)

    def test_a_coherent_cluster_changes_its_placement(self):
        with cluster.Cluster("--plan", "coherent", "--kv-blocks", "100", ranks=2) as server:
            before = texts(server)
            view = server.get("/admin/v1/placement", url=server.admin_url).json()
            self.assertEqual(view["plan"], "coherent")
            table = json.loads(json.dumps(view["table"]))
            for row in table["assignment"]:
                row.reverse()
            answer = server.post("/admin/v1/placement/apply", {"table": table}, url=server.admin_url)
            self.assertEqual(answer.status, 202, answer.body)
            self.assertEqual(texts(server), before)
            cluster.wait_for("the new placement", lambda: server.get("/admin/v1/placement", url=server.admin_url)
                             .json()["table"]["assignment"] == table["assignment"], 30)
            self.assertEqual(texts(server), before)

    def test_what_cannot_run_says_so(self):
        out = ["--ids", "1,2,3", "--out", os.devnull]
        done = cluster.run("logits", "--model", cluster.GOLDEN / "mixtral_ladder_pregate", "--ranks", "2", "--transport",
                           "local", "--plan", "coherent", *out, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("pre-gated", done.stderr)
        done = cluster.run("logits", "--model", cluster.DEMO, "--plan", "both", *out, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("--plan", done.stderr)



if __name__ == "__main__":
    unittest.main(verbosity=2)
