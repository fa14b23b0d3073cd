#!/usr/bin/env python3
"""A real Prometheus with the shipped configuration scrapes a live cluster under load; every query of every panel, record and
alert answers with data, and every metric that they name exists."""
import concurrent.futures
import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import cluster

os.environ.setdefault("CONCLAVE_SOURCE_DIR", str(cluster.ROOT))
sys.path.insert(0, str(cluster.ROOT / "tests/deploy"))
import monitoring_test as files  # pylint: disable=wrong-import-position

if not shutil.which("prometheus"):
    print("skipped: Prometheus is not installed; scripts/install_packages.sh monitoring installs it")
    sys.exit(77)


class Prometheus:
    """deploy/prometheus, copied and quickened, on a free port of this machine."""

    def __init__(self, admin_url):
        self.target = admin_url.removeprefix("http://")

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory())) / "prometheus"
        shutil.copytree(cluster.ROOT / "deploy/prometheus", self.folder)
        config = self.folder / "prometheus.yml"
        config.write_text(re.sub(r"(_interval): 5s", r"\1: 1s", config.read_text()))
        (self.folder / "targets").mkdir(exist_ok=True)
        (self.folder / "targets/test.json").write_text(json.dumps([{"targets": [self.target], "labels": {"service": "test"}}]))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        log = self.stack.enter_context(open(self.folder / "log", "wb"))
        self.process = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}",
                                         f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.stack.close()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return json.load(answer)

    def values(self, expression):
        try:
            answer = self.get("/api/v1/query?query=" + urllib.parse.quote(expression))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            result = [{"value": result}]
        return [float(series["value"][1]) for series in result]

    def label_values(self, query):
        """What Grafana asks for `label_values(selector, label)`; earlier variables match everything."""
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query.replace("$job", ".*")).groups()
        return self.get(f"/api/v1/label/{label}/values?match[]=" + urllib.parse.quote(selector))["data"]

    def scraping(self):
        try:
            return self.values('up{job="conclave"}') == [1.0]
        except (OSError, AssertionError):  # it is starting
            return False


def panel_queries():
    for name, panel in files.panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "1m").replace("$job", "conclave").replace("$instance", ".*")
            yield f"{name}: {panel['title']}", text


def rule_queries():
    """Records as they are; of alerts each comparison by itself, as one that always answers."""
    for name, expression in files.rule_expressions():
        if ":" in name:
            yield name, expression
            continue
        for part in re.split(r"\s+and on \([^)]*\)\s+", expression):
            asked, count = re.subn(r"(==|>|<) ([\d.]+)$", r"\1 bool \2", part)
            if count != 1:
                raise AssertionError(f"{name}: \"{part}\" is no comparison with a number")
            yield name, asked


class Monitoring(unittest.TestCase):
    def test_every_query_answers(self):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(cluster.Cluster(ranks=2))
            stop = threading.Event()
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(4))
            stack.callback(stop.set)

            def load(number):
                while not stop.is_set():
                    server.post("/v1/completions", {"model": "demo-moe", "prompt": "In the beginning " * 8, "max_tokens": 16, "seed": number})
            for number in range(4):
                pool.submit(load, number)
            prometheus = stack.enter_context(Prometheus(server.admin_url))
            cluster.wait_for("a first scrape", prometheus.scraping, 60)

            exported = set(re.findall(r"^# TYPE (\S+)", server.get("/metrics", url=server.admin_url).body.decode(), re.M))
            queries = list(panel_queries()) + list(rule_queries())
            self.assertGreater(len(queries), 70)
            for where, expression in queries:
                for name in files.metric_names(expression):
                    self.assertIn(files.base_name(name), exported, where)

            unanswered = dict.fromkeys(queries)
            end = time.monotonic() + 90 * cluster.PATIENCE
            while unanswered and time.monotonic() < end:
                for query in list(unanswered):
                    values = prometheus.values(query[1])  # an error of Prometheus is an exception here
                    if values and not all(math.isnan(value) for value in values):
                        del unanswered[query]
                time.sleep(0.5)
            self.assertEqual(list(unanswered), [], "these queries return nothing, or no number, under load")

            def rules(health):
                found = [rule for group in prometheus.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
                return [rule for rule in found if rule["health"] == health]
            # "unknown" until a rule was evaluated for the first time.
            cluster.wait_for("every rule evaluated", lambda: len(rules("ok")) == len(files.rule_expressions()), 60)
            for query in files.variable_queries():
                self.assertTrue(prometheus.label_values(query), query)
            self.assertEqual(prometheus.values("sum(conclave_requests_finished_total{reason=\"error\"})"), [0.0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
