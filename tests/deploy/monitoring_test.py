#!/usr/bin/env python3
"""Dashboards are what their generator writes, rules pass promtool's tests, names are of the catalogue, alerts are documented."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ["CONCLAVE_SOURCE_DIR"])
RULES = ROOT / "deploy/prometheus/rules"
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
TYPES = {"timeseries", "stat"}


def rule_expressions():
    """Name (record or alert) and expression of every rule; the files are simple enough to be read by lines."""
    found = []
    for path in sorted(RULES.glob("*.yml")):
        for block in re.split(r"\n\s+- (?=record|alert)", path.read_text())[1:]:
            name = re.match(r"\w+: (\S+)", block).group(1)
            text = re.search(r"expr: (?:>-\n)?(.*?)(?=\n\s+(?:for|labels|annotations|#)|\n\s*\Z|\Z)", block, re.S).group(1)
            found.append((name, " ".join(text.split())))
    return found


def panels():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield path.name, panel


def metric_names(expression):
    text = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"(?<![:\w])(?:conclave|process)_\w+", text))


def catalogue():
    return set(re.findall(r"^\| `((?:conclave|process)_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))


def base_name(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


class Monitoring(unittest.TestCase):
    def test_dashboards_are_generated(self):
        done = subprocess.run([sys.executable, ROOT / "deploy/grafana/generate.py", "--check"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_dashboards_can_be_provisioned(self):
        uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
        self.assertEqual(len(uids), 5)
        self.assertEqual(len(set(uids)), 5)
        for path in DASHBOARDS:
            self.assertIsNone(json.loads(path.read_text())["id"])
        for name, panel in panels():
            where = f"{name}: {panel['title']}"
            self.assertIn(panel["type"], TYPES, where)
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], where)
            self.assertTrue(panel["description"], where)
            self.assertEqual(panel["datasource"]["uid"], "${datasource}", where)

    def test_panels_do_not_overlap(self):
        for path in DASHBOARDS:
            taken = set()
            for panel in json.loads(path.read_text())["panels"]:
                place = panel["gridPos"]
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
                self.assertLessEqual(place["x"] + place["w"], 24)
                self.assertFalse(taken & cells, f"{path.name}: {panel['title']}")
                taken |= cells

    def test_metrics_are_of_the_catalogue(self):
        known = catalogue()
        self.assertGreater(len(known), 30)
        recorded = {name for name, _ in rule_expressions() if ":" in name}
        queries = rule_expressions() + [(f"{name}: {panel['title']}", target["expr"]) for name, panel in panels() for target in panel["targets"]]
        self.assertGreater(len(queries), 60)
        for where, expression in queries:
            for name in metric_names(expression):
                self.assertIn(base_name(name), known, where)
            for name in re.findall(r"\w+:\w+:\w+", expression):
                self.assertIn(name, recorded, where)

    def test_alerts_are_documented(self):
        text = (ROOT / "docs/operations.md").read_text()
        for name, _ in rule_expressions():
            if ":" not in name:
                self.assertIn(f"### {name}\n", text)

    def test_rules(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed; scripts/install_packages.sh monitoring installs it")
        with tempfile.TemporaryDirectory() as folder:
            for path in [*RULES.glob("*.yml"), ROOT / "tests/deploy/rules_test.yml"]:
                shutil.copy(path, folder)
            done = subprocess.run(["promtool", "test", "rules", "rules_test.yml"], cwd=folder, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        tested = set(re.findall(r"alertname: (\w+)", (ROOT / "tests/deploy/rules_test.yml").read_text()))
        self.assertEqual(tested, {name for name, _ in rule_expressions() if ":" not in name})


if __name__ == "__main__":
    unittest.main(verbosity=2)
