#!/usr/bin/env python3
"""conclave profile, place and simulate as a user meets them: tables, reports, figures, mistakes."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cluster

TRACE = cluster.ROOT / "tests/golden/traces/demo_4_sequences.safetensors"


class Placement(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def json(self, *arguments):
        return json.loads(cluster.run(*arguments, "-o", "json").stdout)

    def place(self, *arguments, trace=TRACE):
        return self.json("place", "--trace", trace, "--time-limit", "1", *arguments)

    def test_a_table_has_the_documented_keys_and_is_used(self):
        out = self.folder / "table.json"
        said = self.place("--ranks", "2", "--max-imbalance", "1.25", "--hold-out", "4", "--model", cluster.DEMO, "--out", out)
        self.assertLess(said["objective_after"], 0.8 * said["objective_before"])
        self.assertLessEqual(said["lower_bound"], said["objective_after"])
        held = {row["table"]: row for row in said["held_out"]}
        self.assertLess(held["this table"]["crossing_share"], held["contiguous"]["crossing_share"])
        table = json.loads(out.read_text())
        self.assertEqual({"version", "model_fingerprint", "profile_id", "epoch", "moe_layers", "experts", "ranks", "slots_per_rank",
                          "assignment"}, set(table))
        self.assertEqual((table["version"], table["experts"], table["ranks"], table["slots_per_rank"]), (1, 32, 2, 16))
        self.assertEqual(sorted(len(layer) for layer in table["assignment"]), [32] * 8)
        prompt = ("generate", "--model", cluster.DEMO, "--prompt", "In the beginning God created", "--max-tokens", "8", "--seed", "1",
                  "-o", "json", "--ranks", "2", "--transport", "local")
        self.assertEqual(cluster.run(*prompt).stdout, cluster.run(*prompt, "--placement", out).stdout)

    def test_a_table_of_another_model_or_group_is_refused(self):
        out = self.folder / "table.json"
        self.place("--ranks", "2", "--model", cluster.DEMO, "--solver", "contiguous", "--out", out)
        done = cluster.run("generate", "--model", cluster.DEMO, "--prompt", "x", "--ranks", "3", "--transport", "local",
                           "--placement", out, check=False)
        self.assertEqual(done.returncode, 3)
        table = json.loads(out.read_text())
        table["model_fingerprint"] = "0123456789abcdef"
        out.write_text(json.dumps(table))
        done = cluster.run("generate", "--model", cluster.DEMO, "--prompt", "x", "--ranks", "2", "--transport", "local",
                           "--placement", out, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("0123456789abcdef", done.stderr)

    def test_profile_files_give_the_same_table_as_the_trace(self):
        tables = []
        for name in ("p.json", "p.safetensors"):
            path = self.folder / name
            self.json("profile", "--trace", TRACE, "--out", path)
            out = self.folder / (name + ".table")
            self.json("place", "--profile", path, "--ranks", "32", "--solver", "exact", "--time-limit", "20", "--out", out)
            tables.append(json.loads(out.read_text()))
        self.assertEqual(tables[0], tables[1])

    def test_replanning_counts_moves_and_keeps_the_budget(self):
        first = self.folder / "first.json"
        self.place("--ranks", "4", "--solver", "eplb", "--out", first)
        again = self.folder / "again.json"
        said = self.place("--ranks", "4", "--start", first, "--migration-budget", "12", "--out", again)
        self.assertLessEqual(said["moved_experts"], 12)
        self.assertLess(said["objective_after"], said["objective_before"])
        self.assertEqual(json.loads(again.read_text())["epoch"], 1)

    def test_simulate_counts_what_place_counts(self):
        out = self.folder / "table.json"
        self.place("--ranks", "4", "--objective", "messages", "--plan", "coherent", "--max-imbalance", "1.25", "--out", out)
        for plan in ("fixed", "coherent"):
            contiguous, ours = (self.json("simulate", "--model", cluster.DEMO, "--trace", TRACE, "--ranks", "4", "--plan", plan,
                                          *more)["steps"][0] for more in ((), ("--table", out)))
            self.assertLess(ours["messages_per_token_layer"], contiguous["messages_per_token_layer"])
            self.assertGreater(ours["step_s"], 0)
        steps = self.json("simulate", "--model", cluster.DEMO, "--trace", TRACE, "--ranks", "2,8,64,1024")["steps"]
        self.assertEqual([step["nodes"] for step in steps], [1, 1, 8, 128])

    def test_the_report_opens_in_a_browser(self):
        report = self.folder / "report.html"
        self.place("--ranks", "4", "--report", report)
        browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if browser is None:
            self.skipTest("no Chromium here")
        done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.folder}/chromium", "--dump-dom",
                               report.as_uri()], capture_output=True, text=True, timeout=100, check=True)
        for part in ('id="map"', 'id="ranks-after"', 'id="balance"'):
            self.assertIn(part, done.stdout)
        self.assertEqual(done.stdout.count("<title>expert "), 8 * 32)

    def test_mistakes_are_one_sentence_and_exit_3(self):
        broken = self.folder / "broken.safetensors"
        broken.write_bytes(TRACE.read_bytes()[:5000])
        for arguments in (("--trace", broken, "--ranks", "2"), ("--trace", TRACE), ("--trace", TRACE, "--ranks", "2", "--nodes", "3"),
                          ("--trace", TRACE, "--ranks", "2", "--objective", "beauty"), ("--trace", TRACE, "--ranks", "2", "--replicas", "x"),
                          ("--trace", TRACE, "--ranks", "2", "--max-imbalance", "0.9"), ("--ranks", "2"),
                          ("--profile", self.folder / "none.json", "--ranks", "2")):
            done = cluster.run("place", *arguments, check=False)
            self.assertEqual(done.returncode, 3, (arguments, done.stderr))
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
