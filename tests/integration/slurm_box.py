"""A real Slurm for tests (slurm_sandbox.sh) and jobs of `conclave submit` in it. Standard library only."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

import cluster

SCRIPT = pathlib.Path(__file__).with_name("slurm_sandbox.sh")


def why_not():
    """Why no Slurm can be started here; None if one can."""
    if os.geteuid() != 0:
        return "a Slurm of our own needs root"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "ip", "nsenter") if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} missing; scripts/install_packages.sh slurm installs them"
    return None if cluster.namespaces_work() else "network namespaces cannot be made and entered here"


class Job:
    """One submitted job."""

    def __init__(self, box, answer):
        self.box, self.id = box, answer["job_id"]
        self.folder, self.endpoint = pathlib.Path(answer["job_folder"]), answer["endpoint"]

    def scontrol(self):
        text = self.box.run("scontrol", "--oneliner", "show", "job", self.id).stdout
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def state(self):
        return self.scontrol()["JobState"]

    def wait_end(self, seconds=60):
        # By name: a running job is SIGNALING for a moment when its warning comes, and Slurm has more states of that kind.
        ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED", "REVOKED")
        cluster.wait_for(f"the end of job {self.id}", lambda: self.state() in ends, seconds)
        return self.scontrol()

    def text(self, name):
        try:
            return (self.folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log(self):
        own = (self.folder.parent / f"slurm-{self.id}.log")
        return (own.read_text(errors="replace") if own.exists() else "") + self.text("log/coordinator.log")

    def signal(self, name):
        self.box.run("scancel", "--batch", f"--signal={name}", self.id)

    def coordinator(self):
        """Process id of the coordinator of this job."""
        return self.box.process_of(self.id, "conclave", "coordinator")

    def ranks(self):
        return self.box.processes_of(self.id, "conclave-worker", "--coordinator")


class SlurmBox:
    """The sandbox as a context manager; services live in its folder."""

    def __init__(self, nodes=2, apart=0):
        self.nodes, self.apart = nodes, apart

    def __enter__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="conclave-slurm-test-"))
        self.folder = pathlib.Path(f"/tmp/cslurm{os.getpid()}")
        self.env = {**os.environ, "CONCLAVE_SLURM_DIR": str(self.folder), "CONCLAVE_SLURM_NODES": str(self.nodes),
                    "CONCLAVE_SLURM_APART": str(self.apart),
                    "SLURM_CONF": str(self.folder / "slurm.conf")}
        subprocess.run([str(SCRIPT), "down"], env=self.env, check=False)
        subprocess.run([str(SCRIPT), "up"], env=self.env, check=True, timeout=120 * cluster.PATIENCE)
        return self

    def __exit__(self, *_):
        subprocess.run([str(SCRIPT), "down"], env=self.env, check=False, timeout=180 * cluster.PATIENCE)
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, *command, check=True, timeout=60, env=None):
        """A command in the sandbox's network, as a user of its login node would run it."""
        done = subprocess.run([str(SCRIPT), "run", *map(str, command)], env={**self.env, **(env or {})}, capture_output=True, text=True,
                              timeout=timeout * cluster.PATIENCE, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def submit_command(self, service, *flags, nodes=2, ranks_per_node=1, cpus=1):
        return [str(cluster.BINARY), "submit", "--model", str(cluster.DEMO), "--nodes", str(nodes), "--ranks-per-node",
                str(ranks_per_node), "--cpus-per-rank", str(cpus), "--folder", str(self.home / service), *map(str, flags)]

    def submit(self, service, *flags, env=None, **shape):
        command = self.submit_command(service, *flags, "--wait-ready", "--wait-timeout", str(int(90 * cluster.PATIENCE)),
                                      "-o", "json", **shape)
        done = self.run(*command, check=False, timeout=120, env=env)
        if done.returncode != 0:
            logs = "".join(f.read_text(errors="replace") for f in (self.home / service).glob("**/*.log"))
            raise AssertionError(f"submit: exit {done.returncode}\n{done.stderr}\n{logs}")
        return Job(self, json.loads(done.stdout))

    def processes_of(self, job_id, program, word):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if (words[0].decode(errors="replace").rsplit("/", 1)[-1] == program and word.encode() in words and
                    f"SLURM_JOB_ID={job_id}".encode() in environment and
                    f"SLURM_CONF={self.env['SLURM_CONF']}".encode() in environment):
                found.append(int(entry.name))
        return sorted(found)

    def process_of(self, job_id, program, word):
        found = self.processes_of(job_id, program, word)
        if len(found) != 1:
            raise AssertionError(f"job {job_id} has {len(found)} processes {program} {word}")
        return found[0]

    def enter_network(self):
        """This thread of the test joins the sandbox's network, where the jobs listen."""
        libc = __import__("ctypes").CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.folder.name}", encoding="ascii") as namespace:
            if libc.setns(namespace.fileno(), 0x40000000) != 0:  # CLONE_NEWNET
                raise OSError("setns failed")


def ask(url, key, body, timeout=60):
    """Status and JSON body (or the list of events of a stream) of one completion on a connection of its own."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout * cluster.PATIENCE)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body),
                           {"Content-Type": "application/json", "Authorization": "Bearer " + key})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status == 200 and body.get("stream"):
            return 200, [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]
        return answer.status, json.loads(data)
    finally:
        connection.close()


class OpenLoop:
    """Requests at a steady rate, whatever the answers do; each finds its server through the endpoint file."""

    def __init__(self, box, endpoint_file, key, rate, body):
        self.box, self.endpoint_file, self.key, self.period, self.body = box, pathlib.Path(endpoint_file), key, 1 / rate, body
        self.outcomes, self.lock, self.stop = [], threading.Lock(), threading.Event()

    def one(self, number):
        self.box.enter_network()
        url = ""
        try:
            url = self.endpoint_file.read_text().strip()
            status, answer = ask(url, self.key, {**self.body, "stream": number % 2 == 0, "seed": number})
            good = status == 200 and (answer[-1] == "[DONE]" and not any('"error"' in a for a in answer) if number % 2 == 0
                                      else answer["choices"][0]["finish_reason"] in ("stop", "length"))
            outcome = (url, "ok" if good else f"{status} {str(answer)[:300]}")
        except Exception as error:  # whatever happened, it is the client's trouble
            outcome = (url, repr(error))
        with self.lock:
            self.outcomes.append(outcome)

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(64)
        self.thread = threading.Thread(target=self._generate)
        self.thread.start()
        return self

    def _generate(self):
        number, start = 0, time.monotonic()
        while not self.stop.wait(max(0, start + number * self.period - time.monotonic())):
            self.pool.submit(self.one, number)
            number += 1

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.pool.shutdown()


class BusyUntilTheEnd:
    """Two clients with a stream open at any time, one in the middle of its own when the other begins, and one that asks a short
    question twice a second, until the service is gone."""

    def __init__(self, box, url, key, body, tokens):
        self.box, self.url, self.key, self.body = box, url, key, body
        self.streams, self.questions = ([], []), []  # outcomes in order: "ok", "refused", "gone" or what was wrong
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._repeat, args=arguments, daemon=True) for arguments in (
            (self.streams[0], tokens, tokens, 0), (self.streams[1], tokens // 2, tokens, 0), (self.questions, 2, 2, 0.5))]
        for thread in self.threads:
            thread.start()

    def _repeat(self, outcomes, first_tokens, tokens, pause):
        self.box.enter_network()
        while not self.stop.is_set() and (not outcomes or outcomes[-1] != "gone"):
            outcomes.append(self._ask(tokens if outcomes else first_tokens))
            self.stop.wait(pause if outcomes[-1] == "ok" else 0.5)

    def _ask(self, tokens):
        parts = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120 * cluster.PATIENCE)
        try:
            connection.connect()
        except OSError:
            return "gone"
        try:
            connection.request("POST", "/v1/completions", json.dumps({**self.body, "max_tokens": tokens, "stream": True}),
                               {"Content-Type": "application/json", "Authorization": "Bearer " + self.key})
            answer = connection.getresponse()
            if answer.status == 503 and int(answer.getheader("Retry-After", 0)) > 0:
                return "refused"
            events = [line[6:] for line in answer.read().decode().splitlines() if line.startswith("data: ")]
            good = answer.status == 200 and events[-1] == "[DONE]" and any('"finish_reason":"length"' in event for event in events)
            return "ok" if good else f"{answer.status} {events[-3:]}"
        except (http.client.RemoteDisconnected, ConnectionError):
            # Accepted by the kernel of a server that had stopped listening a moment ago: no request of its.
            return "gone"
        except Exception as error:  # whatever happened, it is the client's trouble
            return repr(error)
        finally:
            connection.close()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(150 * cluster.PATIENCE)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
