#!/usr/bin/env python3
"""The completion scripts in the shells that they are for: each is loaded, and completes verbs, verbs below verbs, flags and choices."""
import contextlib
import os
import pathlib
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from cluster import PATIENCE
from ctl import CTL

# What is typed, and what the shell makes of it.
ONE_WAY = [("drai", "drain"), ("placement roll", "placement rollback"), ("drain --canc", "drain --cancel-open"),
           ("profile sto", "profile stop"), ("-o yam", "-o yaml"), ("get rank", "get ranks"), ("log-level warn", "log-level warning"),
           ("placement plan --write-table tab", "placement plan --write-table table.json")]


def script(shell):
    return subprocess.run([str(CTL), "completion", shell], capture_output=True, text=True, check=True).stdout


class Terminal:
    """An interactive shell without anybody's settings, in an empty folder but for one file."""

    def __init__(self, *command):
        self.command = command

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        (self.folder / "table.json").write_text("{}")
        self.primary, secondary = pty.openpty()
        self.process = subprocess.Popen(self.command, stdin=secondary, stdout=secondary, stderr=secondary, cwd=self.folder, start_new_session=True,
                                        env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "TERM": "dumb", "LC_ALL": "C"})
        os.close(secondary)
        self.seen = ""
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.primary)
        self.stack.close()

    def type(self, text):
        os.write(self.primary, text.encode())

    def wait(self, text):
        """Until the shell has written text since the last call."""
        end = time.monotonic() + 60 * PATIENCE
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.primary], [], [], left)[0]:
                raise AssertionError(f"no {text!r} in {self.seen!r}")
            self.seen += os.read(self.primary, 65536).decode(errors="replace")
        self.seen = self.seen.split(text, 1)[1]


def complete_in(terminal, setup):
    """Types each half command, Tab and Enter, in a shell where `conclavectl` prints what it was called with."""
    (terminal.folder / "setup").write_text(setup + "\nconclavectl() { printf '<%s>\\n' \"$*\"; }\n")
    terminal.type(". ./setup; echo load''ed\r")
    terminal.wait("loaded")
    for typed, made in ONE_WAY:
        terminal.type(f"conclavectl {typed}\t\r")
        terminal.wait(f"<{made}>")


class Completion(unittest.TestCase):
    def test_bash(self):
        with Terminal("bash", "--norc", "--noprofile", "-i") as terminal:
            complete_in(terminal, script("bash"))

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed; scripts/install_packages.sh test installs it")
    def test_zsh(self):
        with Terminal("zsh", "-f", "-i") as terminal:
            complete_in(terminal, "unsetopt beep prompt_cr\nautoload -Uz compinit\ncompinit -u -D\n" + script("zsh"))

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed; scripts/install_packages.sh test installs it")
    def test_fish(self):
        def complete(typed, folder):
            done = subprocess.run(["fish", "--no-config", "-c", f"source {folder}/script; complete -C 'conclavectl {typed}'"], capture_output=True, text=True,
                                  cwd=folder, timeout=60 * PATIENCE, check=True, env={"PATH": os.environ["PATH"], "HOME": folder, "TERM": "dumb"})
            self.assertEqual(done.stderr, "")
            return [line.split("\t")[0] for line in done.stdout.splitlines()]

        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "script").write_text(script("fish"))
            (pathlib.Path(folder) / "table.json").write_text("{}")
            for typed, made in ONE_WAY:
                self.assertEqual(complete(typed, folder), [made.rsplit(" ", 1)[-1]], typed)
            self.assertEqual(sorted(complete("placement ", folder)), ["apply", "plan", "rollback", "show"])
            self.assertEqual(sorted(complete("profile start --s", folder)), [], "the flag of `trace start`")
            self.assertIn("--steps", complete("trace start --s", folder))
            self.assertNotIn("script", complete("", folder), "files where a verb is wanted")


if __name__ == "__main__":
    outcome = unittest.main(verbosity=2, exit=False).result
    sys.exit(1 if not outcome.wasSuccessful() else 77 if outcome.skipped else 0)
