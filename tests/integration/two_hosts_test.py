#!/usr/bin/env python3
"""The cluster over two network hosts: the coordinator on one network, a rank on each of two other hosts, rows over TCP;
answers and log-probabilities equal those of one process, bit for bit."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import cluster

PREFIX = f"cn{os.getpid() % 10000}"
FOLDER = pathlib.Path(f"/tmp/conclave-netns-{PREFIX}")
SCRIPT = pathlib.Path(__file__).with_name("netns_hosts.sh")
NETNS_ENV = {**os.environ, "CONCLAVE_NETNS_PREFIX": PREFIX, "CONCLAVE_NETNS_DIR": str(FOLDER)}
NETWORK = "10.231.9"


if not cluster.namespaces_work():
    print("skipped: network namespaces cannot be made and entered here (that needs root and iproute2)")
    sys.exit(77)


REQUESTS = [{"model": "demo-moe", "prompt": text, "max_tokens": 20, "temperature": temperature, "seed": 5, "logprobs": 3}
            for text in ("In the beginning God created", "static int __init", "The tar command") for temperature in (0, 0.9)]


class TwoHosts(unittest.TestCase):
    def setUp(self):
        subprocess.run([str(SCRIPT), "down"], env=NETNS_ENV, check=False, capture_output=True)
        subprocess.run([str(SCRIPT), "up"], env=NETNS_ENV, check=True)

    def tearDown(self):
        subprocess.run([str(SCRIPT), "down"], env=NETNS_ENV, check=False)

    def inside(self, *command, timeout=60):
        return subprocess.run(["ip", "netns", "exec", PREFIX + "0", *map(str, command)], capture_output=True, text=True,
                              timeout=timeout * cluster.PATIENCE, check=True).stdout

    def ask_inside(self, url, body):
        out = self.inside("curl", "-sS", "--max-time", "60", "-H", "Content-Type: application/json", "-d", json.dumps(body),
                          url + "/v1/completions")
        choice = json.loads(out)["choices"][0]
        return choice["text"], choice["logprobs"]

    def test_bits_are_those_of_one_process(self):
        with cluster.Cluster(ranks=1, transport="local") as server:
            expected = []
            for body in REQUESTS:
                choice = server.post("/v1/completions", body).json()["choices"][0]
                expected.append((choice["text"], choice["logprobs"]))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            env = {**os.environ, "OMPI_MCA_btl": "self,tcp", "OMPI_MCA_pml": "ob1",
                   "OMPI_MCA_btl_tcp_if_include": f"{NETWORK}.0/24", "OMPI_MCA_oob_tcp_if_include": f"{NETWORK}.0/24",
                   "OMPI_MCA_plm_rsh_agent": str(FOLDER / "agent"), "OMPI_MCA_orte_keep_fqdn_hostnames": "1"}
            with open(folder / "log", "wb") as log:
                process = subprocess.Popen(
                    ["ip", "netns", "exec", PREFIX + "0", "unshare", "-u", "bash", "-c", f"hostname {PREFIX}0; exec \"$@\"", "_",
                     str(cluster.BINARY), "serve", "--model", str(cluster.DEMO), "--ranks", "2", "--transport", "mpi", "--port", "0",
                     "--admin-port", "0", "--endpoint-file", str(folder / "endpoint"), "--worker-host", f"{NETWORK}.100",
                     "--mpi-args", f"--host {PREFIX}1:1,{PREFIX}2:1 --map-by node"], stdout=log, stderr=log, env=env)
            try:
                cluster.wait_for("the endpoint", lambda: (folder / "endpoint").exists() and (folder / "endpoint").read_text().strip(), 60)
                url = (folder / "endpoint").read_text().strip()

                def ready():
                    done = subprocess.run(["ip", "netns", "exec", PREFIX + "0", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                                           "--max-time", "5", url + "/ready"], capture_output=True, text=True, check=False)
                    return done.stdout == "200"
                cluster.wait_for("ready on two hosts", ready, 60)
                health = self.inside("curl", "-sS", "--max-time", "5", url + "/health")
                self.assertIn(PREFIX + "1", health)
                self.assertIn(PREFIX + "2", health)
                for body, answer in zip(REQUESTS, expected):
                    self.assertEqual(self.ask_inside(url, body), answer, body)
            except BaseException:
                print((folder / "log").read_text(errors="replace"))
                raise
            finally:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


if __name__ == "__main__":
    unittest.main(verbosity=2)
