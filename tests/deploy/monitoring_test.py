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
UNITS = {"none", "short", "s", "percentunit", "reqps", "bytes", "Bps"}  # of Grafana's list
CARRIED = {"instance", "rank", "layer"}  # labels that a metric by itself brings along


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


def variable_queries():
    """Of all boards, each once."""
    return sorted({variable["query"]["query"] for path in DASHBOARDS for variable in json.loads(path.read_text())["templating"]["list"]
                   if variable["type"] == "query"})


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
        """What Grafana's importer and file provisioner need of a board: an own uid and title, no id, a schema version, no open inputs."""
        boards = [json.loads(path.read_text()) for path in DASHBOARDS]
        self.assertEqual(len(boards), 5)
        for field in ("uid", "title"):
            self.assertEqual(len({board[field] for board in boards}), 5, field)
        for board in boards:
            self.assertIsNone(board["id"])
            self.assertRegex(board["uid"], r"\A[a-zA-Z0-9_-]{1,40}\Z")
            self.assertGreaterEqual(board["schemaVersion"], 36)  # data sources as objects
            self.assertNotIn("__inputs", board, "an input would stop a provisioned board")
            self.assertEqual([link["type"] for link in board["links"]], ["dashboards"])
            self.assertTrue(set(board["links"][0]["tags"]) <= set(board["tags"]), "the boards find one another")
            self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]), board["uid"])

    def test_panels(self):
        for name, panel in panels():
            where = f"{name}: {panel['title']}"
            self.assertIn(panel["type"], TYPES, where)
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"], UNITS, where)
            self.assertTrue(panel["description"], where)
            self.assertEqual(panel["datasource"], {"type": "prometheus", "uid": "${datasource}"}, where)
            self.assertGreater(panel["id"], 0, where)
            self.assertTrue(panel["targets"], where)
            self.assertEqual(len({target["refId"] for target in panel["targets"]}), len(panel["targets"]), where)
            for target in panel["targets"]:
                self.assertEqual(target["expr"].count("("), target["expr"].count(")"), where)
                labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                self.assertFalse([label for label in labels if label not in target["expr"] and label not in CARRIED], where)

    def test_variables(self):
        """Every $name of a query is a variable of its board or Grafana's own, and the data source is the provisioned one."""
        source = (ROOT / "deploy/grafana/provisioning/datasources/conclave.yaml").read_text()
        provisioned = {key: re.search(rf"^ +(?:- )?{key}: (.+)$", source, re.M).group(1) for key in ("name", "uid", "type")}
        for path in DASHBOARDS:
            board = json.loads(path.read_text())
            variables = {variable["name"]: variable for variable in board["templating"]["list"]}
            self.assertEqual(variables["datasource"]["type"], "datasource")
            self.assertEqual(variables["datasource"]["query"], provisioned["type"])
            self.assertEqual(variables["datasource"]["current"], {"text": provisioned["name"], "value": provisioned["uid"]})
            texts = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
            texts += [variable["query"]["query"] for variable in variables.values() if variable["type"] == "query"]
            used = {name for text in texts for name in re.findall(r"\$\{?(\w+)", text)}
            self.assertEqual(used - {"__rate_interval"}, set(variables) - {"datasource"}, path.name)

    def test_provisioned_folder_is_the_documented_one(self):
        provider = (ROOT / "deploy/grafana/provisioning/dashboards/conclave.yaml").read_text()
        folder = re.search(r"path: ([^}\s]+)", provider).group(1)
        self.assertIn(f"`{folder}`", (ROOT / "docs/operations.md").read_text())

    def test_panels_do_not_overlap(self):
        for path in DASHBOARDS:
            taken = set()
            for panel in json.loads(path.read_text())["panels"]:
                place = panel["gridPos"]
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
                self.assertTrue(place["x"] >= 0 and place["y"] >= 0 and place["w"] > 0 and place["h"] > 0 and place["x"] + place["w"] <= 24, panel["title"])
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
