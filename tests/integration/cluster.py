"""Starts, asks and stops a real cluster. Standard library only; every wait has a deadline."""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(os.environ.get("CONCLAVE_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BINARY = pathlib.Path(os.environ.get("CONCLAVE_BINARY_DIR", ROOT / "build/release")) / "bin/conclave"
DEMO = ROOT / "assets/demo-moe"
GOLDEN = ROOT / "tests/golden/models"
# Sanitizers make everything slower; waits (never assertions about speed) grow with them.
PATIENCE = float(os.environ.get("CONCLAVE_TEST_PATIENCE", "1"))


def wait_for(what, condition, seconds=60):
    """Polls until condition() is true; fails by naming what did not happen."""
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds * PATIENCE:.0f} s")


def run(*arguments, check=True, stdin=None, env=None, timeout=300):
    """Runs conclave; returns the completed process (text)."""
    done = subprocess.run([str(BINARY), *map(str, arguments)], input=stdin, capture_output=True, text=True,
                          timeout=timeout * PATIENCE, env={**os.environ, **(env or {})}, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"conclave {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return done


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Cluster:
    """`conclave serve` on free ports, as a context manager."""

    def __init__(self, *flags, model=DEMO, ranks=2, transport="mpi", env=None, command="serve", ready=True):
        self.flags, self.model, self.ranks, self.transport = list(flags), model, ranks, transport
        self.env, self.command, self.wait_ready = env or {}, command, ready
        self.process = None
        self.folder = None

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.log_path = self.folder / "log"
        arguments = [str(BINARY), self.command, "--model", str(self.model), "--ranks", str(self.ranks), "--transport",
                     self.transport, "--port", "0", "--admin-port", "0", "--endpoint-file", str(self.folder / "endpoint"),
                     "--admin-endpoint-file", str(self.folder / "admin"), *self.flags]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, env={**os.environ, **self.env})
        try:
            wait_for("the API address", self._addresses, 60)
            if self.wait_ready:
                wait_for("ready", lambda: self._alive() and self.get("/ready").status == 200, 90)
        except BaseException:
            print(self.log())
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.stack.close()

    def _alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the coordinator ended with {self.process.returncode}:\n{self.log()}")
        return True

    def _addresses(self):
        self._alive()
        texts = []
        for name in ("endpoint", "admin"):
            with contextlib.suppress(FileNotFoundError):
                texts.append((self.folder / name).read_text().strip())
        if len(texts) != 2 or not all(texts):
            return False
        self.url, self.admin_url = texts
        return True

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connection(self, url=None, timeout=60):
        parts = urllib.parse.urlsplit(url or self.url)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout * PATIENCE)

    def request(self, method, path, body=None, headers=None, url=None, timeout=60):
        connection = self.connection(url, timeout)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body, **more):
        return self.request("POST", path, body, **more)

    def stream(self, path, body, timeout=60):
        """Yields the data of each SSE event, '[DONE]' last."""
        connection = self.connection(timeout=timeout)
        try:
            connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise AssertionError(f"{answer.status}: {answer.read()!r}")
            for line in answer:
                text = line.decode().rstrip("\r\n")
                if text.startswith("data: "):
                    yield text[6:]
        finally:
            connection.close()

    def rank_pids(self):
        return descendants(self.process.pid, "conclave-worker")


def namespaces_work():
    """Whether network namespaces can be made and entered here; in a plain chroot the first works and the second does not."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return False
    probe = f"conclavep{os.getpid()}"
    steps = (["add", probe], ["exec", probe, "true"], ["del", probe])
    return all([subprocess.run(["ip", "netns", *step], capture_output=True, check=False).returncode == 0 for step in steps])


def descendants(pid, name=None):
    """Process ids below pid, of programs called name."""
    children, names = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            stat = (entry / "stat").read_text()
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
            names[int(entry.name)] = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace").rsplit("/", 1)[-1]
    found, open_ids = [], [pid]
    while open_ids:
        for child in children.get(open_ids.pop(), []):
            open_ids.append(child)
            if name is None or names.get(child) == name:
                found.append(child)
    return sorted(found)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
