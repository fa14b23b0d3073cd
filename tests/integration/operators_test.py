#!/usr/bin/env python3
"""What an operator is told when things go wrong: a model that is gone, requests that fail while the cluster drains, the ranks' last words."""
import contextlib
import json
import pathlib
import shutil
import tarfile
import tempfile
import threading
import unittest

import cluster
import ctl

LONG = {"model": "m", "prompt": [5, 6, 7], "max_tokens": 1900, "ignore_eos": True, "temperature": 0}
# Rank 1 is made to wait in every step: a LONG request takes some 30 s.
SLOW = {"CONCLAVE_FAULT": "slow:rank=1,ms=15"}


class Operators(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "m"
        shutil.copytree(cluster.DEMO, self.model)

    def findings(self, tool, code):
        found = {f["check"]: f for f in tool.json("doctor", schema="doctor", code=code)["findings"]}
        return {name: f for name, f in found.items() if name.startswith("MODEL_")}

    def test_a_model_that_could_not_be_loaded_again(self):
        """Each fault is seen by doctor (exit code 8), health, status and /health, and forgotten when it is mended."""
        with cluster.Cluster(model=self.model, ranks=1, transport="local") as server:
            tool = ctl.Ctl(server.admin_url)
            self.assertEqual(self.findings(tool, 0), {})
            config, weights = self.model / "config.json", next(self.model.glob("*.safetensors"))
            away = self.folder / "away"

            def replace_config():
                config.rename(away)
                config.write_text(away.read_text().replace("{", "{ ", 1))

            def cut_weights():
                shutil.copy2(weights, away)
                with open(weights, "r+b") as file:
                    file.truncate(1000)

            cases = {"the folder is gone": ("MODEL_GONE", lambda: self.model.rename(away), lambda: away.rename(self.model)),
                     "config.json: is gone": ("MODEL_GONE", lambda: config.rename(away), lambda: away.rename(config)),
                     "config.json: has": ("MODEL_CHANGED", replace_config, lambda: away.replace(config)),
                     "has 1000 bytes": ("MODEL_CHANGED", cut_weights, lambda: away.replace(weights))}
            for words, (code, spoil, mend) in cases.items():
                with self.subTest(words):
                    spoil()
                    found = self.findings(tool, 8)
                    self.assertEqual((list(found), found[code]["verdict"]), ([code], "ERROR"))
                    self.assertIn(words, found[code]["what"])
                    self.assertTrue(found[code]["advice"])
                    self.assertIn(code, tool.json("status", schema="status")["checks"])
                    self.assertIn(words, tool.table("health", "detail", sees=[code], code=8))
                    self.assertIn(words, server.request("GET", "/health", url=server.admin_url).json()["model_files"])
                    metrics = server.request("GET", "/metrics", url=server.admin_url).body.decode()
                    self.assertIn("conclave_model_files_wrong 1\n", metrics)
                    mend()
                    self.assertEqual(self.findings(tool, 0), {})
            self.assertEqual(server.request("GET", "/health", url=server.admin_url).json()["model_files"], "ok")
            self.assertIn("the next restart cannot load", server.log())

    def test_a_drain_says_what_failed_and_a_bundle_has_the_ranks_words(self):
        with cluster.Cluster(model=self.model, env=SLOW) as server:
            tool = ctl.Ctl(server.admin_url)
            threads = [threading.Thread(target=self.read, args=(server, i), daemon=True) for i in range(3)]
            for thread in threads:
                thread.start()

            def streaming():
                document = server.request("GET", "/admin/v1/requests", url=server.admin_url).json()
                return sum(request["generated_tokens"] > 0 for request in document["requests"]) == 3

            cluster.wait_for("three streams", streaming)
            names = {r["request_id"] for r in tool.json("get", "requests", schema="requests")["requests"]}
            tool.run("drain", "--reason", "upgrade", "--no-wait")
            drains = []
            waiting = threading.Thread(target=lambda: drains.append(tool.start("drain", "--reason", "upgrade")))
            waiting.start()
            cluster.wait_for("the waiting drain", lambda: server.log().count("upgrade") >= 2)
            cluster.kill(server.rank_pids()[0])
            waiting.join(120 * cluster.PATIENCE)
            for thread in threads:
                thread.join(120 * cluster.PATIENCE)
            drained = drains[0]
            self.assertEqual(drained.returncode, 8, drained)
            self.assertIn("0 requests finished, 3 failed", drained.stdout)
            self.assertIn("3 failed while the cluster drained", drained.stderr)
            named = {line.split(": ")[1] for line in drained.stdout.splitlines() if line.startswith("failed: ")}
            self.assertEqual(named, names)
            ended = tool.json("drain", "--reason", "again", "--no-wait", schema="admission")["ended"]
            self.assertEqual((ended["failed"], {f["request_id"] for f in ended["last_failed"]}), (3, names))

            # What mpirun and the ranks wrote went by the coordinator.
            self.assertTrue(tool.json("logs", schema="logs")["ranks"])
            bundle = self.folder / "bundle.tar.gz"
            tool.run("bundle", bundle)
            with tarfile.open(bundle) as tar:
                logs = json.loads(next(tar.extractfile(m).read() for m in tar.getmembers() if m.name.endswith("logs.json")))
            self.assertIn("mpirun", json.dumps(logs["ranks"]))

    def read(self, server, seed):
        with contextlib.suppress(Exception):
            list(server.stream("/v1/completions", {**LONG, "seed": seed}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
