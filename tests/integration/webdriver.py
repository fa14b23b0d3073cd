"""A headless Chromium through chromedriver (the W3C WebDriver protocol). Standard library only."""
import base64
import contextlib
import http.client
import json
import re
import shutil
import subprocess
import tempfile

from cluster import PATIENCE, wait_for

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference to an element
TAB, ENTER, CONTROL, RIGHT, DOWN = "\ue004", "\ue007", "\ue009", "\ue014", "\ue015"
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--disable-quic",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--window-size=1280,1000"]


def missing():
    """The program that is not installed, or nothing."""
    return next((p for p in ("chromium", "chromedriver") if shutil.which(p) is None), None)


class Browser:
    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.profile = self.stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.stack.callback(self._end)
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self.port = int(found.group(1))
                break
        self.session = ""
        options = {"args": ARGUMENTS + [f"--user-data-dir={self.profile}"], "binary": shutil.which("chromium")}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.session = "/session/" + made["sessionId"]
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _end(self):
        with contextlib.suppress(Exception):
            self.call("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait(60)

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * PATIENCE)
        connection.request(method, path, json.dumps(body or {}) if method == "POST" else None, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{method} {path}: {answer['error']}: {answer['message'].splitlines()[0]}")
        return answer

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def find(self, css):
        return self.call("POST", self.session + "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.call("POST", f"{self.session}/element/{self.find(css)}/click")

    def type(self, css, text):
        self.call("POST", f"{self.session}/element/{self.find(css)}/value", {"text": text})

    def press(self, *keys):
        """Keys to whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", self.session + "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def run(self, script, *arguments):
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, css):
        return self.run("return document.querySelector(arguments[0]).textContent", css)

    def visible(self, css):
        return self.run("const e = document.querySelector(arguments[0]); return !!e && e.checkVisibility()", css)

    def wait_text(self, css, condition, what, seconds=60):
        return wait_for(what, lambda: condition(self.text(css)), seconds)

    def console(self):
        """What the page wrote to the console since the last call, warnings and errors."""
        return [e["message"] for e in self.call("POST", self.session + "/se/log", {"type": "browser"}) if e["level"] in ("WARNING", "SEVERE")]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", self.session + "/screenshot")))

    def colour_scheme(self, scheme):
        self.call("POST", self.session + "/goog/cdp/execute",
                  {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [{"name": "prefers-color-scheme", "value": scheme}]}})
