#!/usr/bin/env python3
"""scripts/quickstart.sh on the programs that were built already: --with-monitoring prints the URL of a Prometheus on loopback that scrapes the
cluster and knows the shipped rules; --once prints an answer alone; nothing is left behind."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import cluster

BUILD = cluster.BINARY.parent.parent


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except OSError:  # it is starting
        return None


def listeners(pid):
    """Local addresses, as /proc has them, on which the process listens."""
    inodes = set()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        if found:
            inodes.add(found.group(1))
    rows = [line.split() for table in ("tcp", "tcp6") for line in pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
    return {row[1].rsplit(":", 1)[0] for row in rows if row[3] == "0A" and row[9] in inodes}


class Quickstart(unittest.TestCase):
    def setUp(self):
        """A checkout whose build and package steps have nothing to do."""
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "scripts").mkdir()
        (self.folder / "build").mkdir()
        shutil.copy(cluster.ROOT / "scripts/quickstart.sh", self.folder / "scripts")
        for name in ("build.sh", "install_packages.sh"):
            script = self.folder / "scripts" / name
            script.write_text("#!/bin/bash\nexit 0\n")
            script.chmod(0o755)
        for name in ("assets", "deploy"):
            (self.folder / name).symlink_to(cluster.ROOT / name)
        (self.folder / "build/release").symlink_to(BUILD)

    def command(self, *flags):
        return [str(self.folder / "scripts/quickstart.sh"), *flags]

    def test_once_prints_the_answer_alone(self):
        done = subprocess.run(self.command("--once", "What does tar do?"), capture_output=True, text=True, timeout=120 * cluster.PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.strip() and "quickstart" not in done.stdout, done.stdout)

    @unittest.skipUnless(shutil.which("prometheus"), "Prometheus is not installed; scripts/install_packages.sh monitoring installs it")
    def test_with_monitoring(self):
        names = ("CONCLAVE_PORT", "CONCLAVE_ADMIN_PORT", "CONCLAVE_PROMETHEUS_PORT")
        ports = dict(zip(names, free_ports(3)))
        url = f"http://127.0.0.1:{ports['CONCLAVE_PROMETHEUS_PORT']}"
        log = self.folder / "log"
        with open(log, "wb") as out:
            process = subprocess.Popen(self.command("--with-monitoring"), stdout=out, stderr=out, env={**os.environ, **ports})
        try:
            def told():
                self.assertIsNone(process.poll(), log.read_text(errors="replace"))
                return "Stop with Ctrl-C" in log.read_text(errors="replace")
            cluster.wait_for("the end of the introduction", told, 90)
            text = log.read_text(errors="replace")
            self.assertIn(f"Prometheus is at {url}", text)
            self.assertIn("Grafana", text)
            self.assertIn("deploy/grafana/dashboards", text)
            cluster.wait_for("a scrape", lambda: [t["health"] for t in (get(url + "/api/v1/targets") or {"data": {"activeTargets": []}})["data"]["activeTargets"]] == ["up"], 60)
            rules = [rule for group in get(url + "/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
            self.assertIn("ConclaveDown", [rule["name"] for rule in rules])
            children = {name: cluster.descendants(process.pid, name) for name in ("prometheus", "conclave", "conclave-worker")}
            self.assertEqual([len(found) for found in children.values()], [1, 1, 2], children)
            for name in ("prometheus", "conclave"):
                self.assertLessEqual(listeners(children[name][0]), {"0100007F"}, f"{name} listens beyond loopback")
                self.assertTrue(listeners(children[name][0]), name)
        finally:
            everything = cluster.descendants(process.pid)
            process.send_signal(signal.SIGINT)
            code = process.wait(60 * cluster.PATIENCE)
        self.assertEqual(code, 130)
        cluster.wait_for("the end of every process", lambda: not any(cluster.alive(pid) for pid in everything), 60)


if __name__ == "__main__":
    outcome = unittest.main(verbosity=2, exit=False).result
    sys.exit(1 if not outcome.wasSuccessful() else 77 if outcome.skipped else 0)
