#!/usr/bin/env python3
"""What the batch script does with the coordinator's exit code: the script itself runs, with stand-ins for Slurm and the program."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ["CONCLAVE_SOURCE_DIR"])
CONCLAVE = pathlib.Path(os.environ["CONCLAVE_BINARY_DIR"]) / "bin/conclave"
if not CONCLAVE.exists():
    print("skipped: the program is not built")
    sys.exit(77)


class JobExit(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.service = self.folder / "service"
        self.service.mkdir()
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.calls = self.folder / "calls"
        for name in ("scontrol", "squeue", "srun", "scancel", "sbatch"):
            self.stand_in(name, f'echo "{name} $*" >>{self.calls}\n')

    def stand_in(self, name, text):
        path = self.bin / name
        path.write_text("#!/bin/bash\n" + text)
        path.chmod(0o755)
        return path

    def run_job(self, code):
        """Runs the job with a coordinator that ends with this code; its exit code, or None if it asked for a requeue."""
        program = self.stand_in("program", f'echo "conclave: the last words" >&2\nexit {code}\n')
        rendered = subprocess.run([CONCLAVE, "submit", "--model", SOURCE / "assets/demo-moe", "--folder", self.service, "--nodes", "1", "--ranks-per-node", "2", "--no-preflight", "--no-api-key",
                                   "--listen", "127.0.0.1", "--render"], capture_output=True, text=True, check=True).stdout
        script = self.folder / "job.sbatch"
        text, count = re.subn(r"^program=.*$", f"program={program}", rendered, flags=re.M)
        self.assertEqual(count, 1)
        script.write_text(text)
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n1", "TMPDIR": str(self.folder)}
        with open(self.folder / "log", "w") as log:
            process = subprocess.Popen(["bash", script], stdout=log, stderr=log, env=env, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    return process.returncode
                if "scontrol requeue 77" in (self.calls.read_text() if self.calls.exists() else ""):
                    return None
                time.sleep(0.05)
            self.fail((self.folder / "log").read_text())
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def test_deaths_while_starting_requeue_the_job(self):
        self.assertIsNone(self.run_job(75), "docs/cli.md: 75 is worth another try")
        log = (self.folder / "log").read_text()
        self.assertIn("the coordinator ended with status 75: the last words; requeueing the job (1 of 3)", log)

    def test_a_dead_coordinator_requeues_the_job(self):
        self.assertIsNone(self.run_job(137))

    def test_what_cannot_be_used_ends_the_job(self):
        for code in (2, 3):
            self.calls.unlink(missing_ok=True)
            self.assertEqual(self.run_job(code), code)
            self.assertNotIn("scontrol requeue", self.calls.read_text())
            self.assertIn("the last words", (self.service / "job-77/reason").read_text())

    def test_an_end_in_order_ends_the_job(self):
        self.assertEqual(self.run_job(0), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
