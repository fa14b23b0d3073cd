#!/usr/bin/env python3
"""Shell code of deploy/ and scripts/, and rendered job scripts of many option sets, have no shellcheck finding."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ["CONCLAVE_SOURCE_DIR"])
BINARY = pathlib.Path(os.environ["CONCLAVE_BINARY_DIR"]) / "bin/conclave"

if not shutil.which("shellcheck"):
    print("skipped: shellcheck is not installed; scripts/install_packages.sh test installs it")
    sys.exit(77)


def shellcheck(*files):
    return subprocess.run(["shellcheck", *map(str, files)], capture_output=True, text=True, check=False).stdout


class ShellCheck(unittest.TestCase):
    def test_files(self):
        files = [ROOT / "deploy/slurm/job.sbatch", *sorted((ROOT / "deploy").glob("**/*.sh")),
                 ROOT / "tests/integration/slurm_sandbox.sh", ROOT / "scripts/quickstart.sh"]
        self.assertEqual(shellcheck(*files), "")

    def test_rendered_scripts(self):
        options = [[], ["--gpus-per-node", "8", "--cpus-per-rank", "4"],
                   ["--chain", "--no-api-key", "--time", "1-00:00:00", "--partition", "gpu", "--account", "a_b", "--qos", "high"],
                   ["--no-preflight", "--min-memory", "1GiB", "--sbatch-option=--mem=0", "--sbatch-option=--comment='x $(y) z'"],
                   ["--listen", "10.0.0.1", "--port", "8000", "--", "--served-model-name", "it's \"$(quoted)\" `text`"]]
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for number, flags in enumerate(options):
                done = subprocess.run([BINARY, "submit", "--model", ROOT / "assets/demo-moe", "--nodes", "2", "--ranks-per-node", "2",
                                       "--render", *flags], capture_output=True, text=True, check=True)
                files.append(pathlib.Path(folder) / f"{number}.sbatch")
                files[-1].write_text(done.stdout)
            self.assertEqual(shellcheck(*files), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
