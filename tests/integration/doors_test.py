#!/usr/bin/env python3
"""Who comes in: other users and other sites at the admin listener, clients without a key, bodies that fill the memory, pages in browsers."""
import json
import os
import pathlib
import shutil
import socket
import tempfile
import unittest
import urllib.parse

import cluster

# Every verb that changes or tells something; each is refused before its body counts.
VERBS = [("POST", "cordon", {"reason": "x"}), ("POST", "drain", {"reason": "x"}), ("POST", "undrain", {}), ("DELETE", "requests/1", None),
         ("POST", "log-level", {"level": "debug"}), ("POST", "profile/start", {}), ("POST", "profile/stop", {}), ("POST", "profile/save", {"name": "x"}),
         ("POST", "profile/load", {"name": "x"}), ("POST", "placement/plan", {}), ("POST", "placement/apply", {"plan_id": "x"}),
         ("POST", "placement/rollback", {}), ("POST", "trace/start", {"steps": 1}), ("POST", "trace/stop", {}), ("GET", "status", None),
         ("GET", "config", None), ("GET", "requests", None), ("GET", "profile", None)]
NOBODY = 65534


def as_nobody(what):
    """What what() returns (JSON) in a process of another user."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = json.dumps(what())
        except BaseException as error:  # pylint: disable=broad-exception-caught
            answer = json.dumps(f"{type(error).__name__}: {error}")
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)


def raw(url, data):
    """Sends bytes; all that comes back until the server closes or is silent."""
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20 * cluster.PATIENCE) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


class AdminDoor(unittest.TestCase):
    """Without a key: the coordinator's own user, and nobody else."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.folder.chmod(0o755)
        cls.server = cluster.Cluster("--admin-socket", str(cls.folder / "admin.sock"), "--state-dir", str(cls.folder / "state"), ranks=1, transport="local")
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()
        shutil.rmtree(cls.folder)

    def ask(self, method, path, body=None, headers=None):
        return self.server.request(method, path, body, headers=headers, url=self.server.admin_url)

    @unittest.skipUnless(os.geteuid() == 0, "only root can try what another user may do")
    def test_another_user_may_look_at_metrics_alone(self):
        def verbs():
            return [self.ask(method, "/admin/v1/" + path, body).status for method, path, body in VERBS]

        def monitoring():
            return [self.ask("GET", path).status for path in ("/metrics", "/health", "/ui", "/ui/page.js")]
        self.assertEqual(as_nobody(verbs), [403] * len(VERBS))
        self.assertEqual(as_nobody(monitoring), [200] * 4)
        said = as_nobody(lambda: self.ask("POST", "/admin/v1/undrain", {}).json()["error"]["message"])
        self.assertIn(f"uid {NOBODY}", said)
        self.assertIn("--admin-key-file", said)
        self.assertEqual(as_nobody(lambda: self.ask("POST", "/v1/completions", {"prompt": "a", "max_tokens": 1}).status), 403)
        self.assertTrue(self.ask("GET", "/admin/v1/admission").json()["open"])

    @unittest.skipUnless(os.geteuid() == 0, "only root can try what another user may do")
    def test_the_socket_is_its_users(self):
        path = str(self.folder / "admin.sock")

        def connect():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
            return "connected"
        self.assertIn("PermissionError", as_nobody(connect))
        self.assertEqual(connect(), "connected")
        # Whoever gets past the file's mode is asked who he is.
        os.chmod(path, 0o666)
        self.addCleanup(os.chmod, path, 0o600)

        def undrain():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"POST /admin/v1/undrain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return client.recv(4096).decode().split()[1]
        self.assertEqual(as_nobody(undrain), "403")
        self.assertEqual(undrain(), "200")

    def test_a_name_that_was_rebound_is_another_site(self):
        port = urllib.parse.urlsplit(self.server.admin_url).port
        for name in ("127.evil.example", "127.0.0.1.evil", "localhost.evil", "0x7f.1", "evil.example", "[::ffff:192.0.2.1]"):
            headers = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}", "Sec-Fetch-Site": "same-origin"}
            self.assertEqual(self.ask("POST", "/admin/v1/cordon", {"reason": "x"}, headers).status, 403, name)
        for name in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            self.assertEqual(self.ask("GET", "/admin/v1/status", headers={"Host": f"{name}:{port}"}).status, 200, name)
        answer = raw(self.server.admin_url, b"POST http://evil.example/admin/v1/undrain HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 403"), answer)
        # Never a page of another origin, whatever the API allows.
        preflight = self.ask("OPTIONS", "/admin/v1/cordon", headers={"Origin": "http://page.example", "Access-Control-Request-Method": "POST"})
        self.assertEqual(preflight.status, 403)
        self.assertNotIn("Access-Control-Allow-Origin", preflight.headers)

    def test_what_an_operator_changes_is_in_the_log(self):
        for method, path, body in [("POST", "profile/stop", {}), ("POST", "profile/start", {}), ("POST", "profile/save", {"name": "kept.json"}),
                                   ("POST", "trace/start", {"steps": 1}), ("POST", "trace/stop", {}), ("POST", "cordon", {"reason": "new disks"}),
                                   ("POST", "undrain", {}), ("POST", "placement/rollback", {}), ("DELETE", "requests/none", None),
                                   ("POST", "log-level", {"level": "info"})]:
            mark = f"act-{path.replace('/', '-')}"
            self.ask(method, "/admin/v1/" + path, body, {"x-request-id": mark})
            line = next((line for line in self.server.log().splitlines() if "admin act" in line and mark in line), None)
            self.assertIsNotNone(line, f"{path} left no line")
            self.assertIn(f"{method} /admin/v1/{path}", line)
            self.assertIn(f"uid {os.geteuid()}", line)
            self.assertIn("peer=127.0.0.1:", line)
            self.assertIn(" info ", line)
        for _ in range(50):
            self.assertEqual(self.ask("POST", "/admin/v1/undrain", {}, {"Host": "evil.example"}).status, 403)
        refused = self.server.log().count("admin request refused")
        self.assertTrue(0 < refused < 50, refused)  # a flood of them does not flood the log
        self.assertEqual(json.loads((self.folder / "state/documents/kept.json").read_text())["version"], 1)

    def test_a_body_that_is_not_understood_is_no_request(self):
        smuggled = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
        for lines, status in [(b"Transfer-Encoding: gzip, chunked", b"501"), (b"Transfer-Encoding: gzip", b"501"),
                              (b"Transfer-Encoding: chunked, chunked", b"400"), (b"Transfer-Encoding: chunked\r\nContent-Length: 3", b"400"),
                              (b"Content-Length: 3\r\nContent-Length: 4", b"400"), (b"Host: y", b"400"), (b"X: a\r\n b", b"400")]:
            answer = raw(self.server.url, b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n0\r\n\r\n" + smuggled)
            self.assertEqual(answer.split()[1], status, lines)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
        answer = raw(self.server.url, b"GET http://anything:8000/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)


class ApiDoor(unittest.TestCase):
    """With a key file."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        (cls.folder / "keys").write_text("sk-test name=tester\n")
        (cls.folder / "keys").chmod(0o600)
        cls.server = cluster.Cluster("--api-key-file", str(cls.folder / "keys"), "--cors-origin", "http://page.example", "http://localhost:3000",
                                     "--max-bodies-mib", "64", ranks=1, transport="local")
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()
        shutil.rmtree(cls.folder)

    def test_bodies_of_clients_without_a_key_are_never_held(self):
        parts = urllib.parse.urlsplit(self.server.url)
        block = b"x" * (1 << 20)
        before = resident_kib(self.server.process.pid)
        clients, most = [], 0
        try:
            for _ in range(40):
                client = socket.create_connection((parts.hostname, parts.port), timeout=20 * cluster.PATIENCE)
                clients.append(client)
                client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n")
                try:
                    for _ in range(7):
                        client.sendall(block)
                except OSError:
                    pass  # closed already
                most = max(most, resident_kib(self.server.process.pid))
            for client in clients:
                self.assertEqual(client.recv(4096).split()[1], b"401")
        finally:
            for client in clients:
                client.close()
        self.assertLess(most - before, 60 << 10, "40 bodies of 7 MiB each were sent")

    def test_only_what_may_come_in_is_asked_for(self):
        with_key = b"Authorization: Bearer sk-test\r\n"
        for key, status in ((b"", b"401"), (with_key, b"100")):
            parts = urllib.parse.urlsplit(self.server.url)
            with socket.create_connection((parts.hostname, parts.port), timeout=20 * cluster.PATIENCE) as client:
                client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + key + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
                self.assertEqual(client.recv(4096).split()[1], status)
        # What needs no key carries no body.
        self.assertEqual(self.server.request("GET", "/health").status, 200)
        self.assertEqual(self.server.request("POST", "/health", "x" * 100).status, 401)

    def test_a_preflight_needs_no_key(self):
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        for origin, allowed in (("http://page.example", True), ("http://localhost:3000", True), ("http://other.example", False)):
            preflight = self.server.request("OPTIONS", "/v1/chat/completions", headers={"Origin": origin, **ask})
            self.assertEqual(preflight.status, 204)
            self.assertEqual(preflight.headers.get("Access-Control-Allow-Origin"), origin if allowed else None)
            self.assertEqual("authorization" in preflight.headers.get("Access-Control-Allow-Headers", ""), allowed)
            for key in ({}, {"Authorization": "Bearer sk-test"}):
                answer = self.server.request("GET", "/v1/models", headers={"Origin": origin, **key})
                self.assertEqual(answer.status, 200 if key else 401)
                self.assertEqual(answer.headers.get("Access-Control-Allow-Origin"), origin if allowed else None)
        # Streams as well.
        connection = self.server.connection()
        connection.request("POST", "/v1/completions", json.dumps({"model": "demo-moe", "prompt": "a", "max_tokens": 2, "stream": True}),
                           {"Content-Type": "application/json", "Authorization": "Bearer sk-test", "Origin": "http://page.example"})
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.getheader("Access-Control-Allow-Origin")), (200, "http://page.example"))
        answer.read()
        connection.close()


class Flags(unittest.TestCase):
    def refused(self, *flags):
        done = cluster.run("serve", "--model", cluster.DEMO, "--transport", "local", "--port", "0", "--admin-port", "0", *flags, check=False, timeout=60)
        self.assertEqual(done.returncode, 3, done.stderr)
        return done.stderr

    def test_what_cannot_be_obeyed_is_refused(self):
        self.assertIn("is no origin", self.refused("--cors-origin", "page.example"))
        self.assertIn("--max-bodies-mib 4", self.refused("--max-bodies-mib", "4", "--max-body-mib", "8"))

    def test_a_preflight_asks_for_no_key_whatever_pages_may_do(self):
        with tempfile.TemporaryDirectory() as folder:
            keys = pathlib.Path(folder) / "keys"
            keys.write_text("sk-test\n")
            keys.chmod(0o600)
            for flags, leave in (((), "*"), (("--cors-origin", "none"), None)):
                with self.subTest(flags=flags), cluster.Cluster("--api-key-file", str(keys), *flags, ranks=1, transport="local") as server:
                    answer = server.request("OPTIONS", "/v1/chat/completions",
                                            headers={"Origin": "http://page.example", "Access-Control-Request-Method": "POST"})
                    self.assertEqual((answer.status, answer.headers.get("Access-Control-Allow-Origin")), (204, leave))
                    granted = [name for name in answer.headers if name.lower().startswith("access-control")]
                    self.assertEqual(bool(granted), leave is not None)
                    self.assertNotIn("Access-Control-Allow-Credentials", granted)



if __name__ == "__main__":
    unittest.main()
