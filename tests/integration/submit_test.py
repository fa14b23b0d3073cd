#!/usr/bin/env python3
"""`conclave submit` against scripted sbatch and squeue: what needs no Slurm. The real one is in slurm_test.py."""
import json
import os
import pathlib
import tempfile
import unittest

import cluster


class Submit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.service = self.folder / "service"
        self.tool("sbatch", 'echo "sbatch: warning: be quiet" >&2; cp "${@: -1}" "$HERE/submitted"; echo "$CONCLAVE_PREDECESSOR" >"$HERE/before"; echo "42;here"')
        self.tool("squeue", 'echo "PENDING|Resources"')

    def tool(self, name, body):
        path = self.folder / name
        path.write_text(f"#!/bin/bash\nHERE={self.folder}\n{body}\n")
        path.chmod(0o755)

    def submit(self, *flags, path=None, model=cluster.DEMO):
        return cluster.run("submit", "--model", model, "--nodes", 2, "--ranks-per-node", 1, "--folder", self.service, *flags,
                           check=False, env={"PATH": path or f"{self.folder}:{os.environ['PATH']}"})

    def test_submits_the_rendered_bytes_and_prints_the_id(self):
        rendered = self.submit("--render").stdout
        self.assertFalse(self.service.exists(), "rendering writes nothing")
        done = self.submit()
        self.assertEqual((done.returncode, done.stdout), (0, "42\n"), done.stderr)
        self.assertEqual((self.folder / "submitted").read_text(), rendered)
        answer = json.loads(self.submit("-o", "json").stdout)
        self.assertEqual((answer["version"], answer["job_id"], answer["endpoint"]), (1, "42", None))
        self.assertEqual(answer["job_folder"], str(self.service / "job-42"))

    def test_says_what_is_wrong(self):
        absent = self.submit(path="/nonexistent")
        self.assertEqual(absent.returncode, 3)
        self.assertIn("sbatch is not in PATH", absent.stderr)
        self.tool("sbatch", 'echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1')
        refused = self.submit()
        self.assertEqual(refused.returncode, 3)
        self.assertIn("Invalid account", refused.stderr)
        self.tool("sbatch", "true")
        self.assertIn("printed no job id", self.submit().stderr)
        self.assertEqual(self.submit(model="/nonexistent").returncode, 3)
        self.assertEqual(self.submit("--api-key-file", "/nonexistent").returncode, 3)
        self.assertEqual(self.submit("--render", "--dry-run").returncode, 2)

    def test_refused_leaves_nothing(self):
        """Whatever refuses a job, no folder, file or temporary file is left, and an earlier script stays as it was."""
        parent = self.folder / "not" / "yet"
        scratch = self.folder / "tmp"
        scratch.mkdir()
        (self.folder / "blocker").write_text("a file, not a folder\n")
        (self.folder / "template").write_text("#!/bin/bash\n")
        refuse = 'echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1'
        kinds = {"sbatch refuses": ([], refuse), "sbatch dies": ([], "kill -9 $$"), "no sbatch": ([], None), "a wrong flag": (["--nodes", "none"], "exit 9"),
                 "no model": (["--model", "/nonexistent"], "exit 9"), "a name that is a path": (["--name", "a/b"], "exit 9"),
                 "a blank in a word": (["--partition", "two words"], "exit 9"), "chain with a port": (["--chain", "--port", "8000"], "exit 9"),
                 "no predecessor": (["--take-over", "41"], "exit 9"), "a template without our names": (["--template", self.folder / "template"], "exit 9"),
                 "no key file": (["--api-key-file", "/nonexistent"], "exit 9"), "a coordinator flag nobody knows": (["--", "--no-such-flag", "1"], "exit 9"),
                 "a coordinator flag of the script": (["--", "--secret-file", "mine"], "exit 9"),
                 "a coordinator flag with a wrong value": (["--", "--max-body-mib", "none"], "exit 9"), "a dry run": (["--dry-run"], refuse),
                 "a file in the way": (["--folder", self.folder / "blocker" / "deep"], "exit 9")}
        for kind, (flags, body) in kinds.items():
            with self.subTest(kind):
                self.tool("sbatch", body or "exit 9")
                defaults = [] if "--model" in flags else ["--model", cluster.DEMO]
                defaults += [] if "--nodes" in flags else ["--nodes", 2]
                defaults += [] if "--folder" in flags else ["--folder", parent / "service"]
                done = cluster.run("submit", "--ranks-per-node", 1, *defaults, *flags, check=False, timeout=60,
                                   env={"PATH": f"{self.folder}:{os.environ['PATH']}" if body else "/nonexistent", "TMPDIR": str(scratch)})
                self.assertIn(done.returncode, (2, 3), done)
                self.assertNotEqual(done.stderr, "")
                self.assertFalse((self.folder / "not").exists(), "the folders that were made for it")
                self.assertEqual((list(scratch.iterdir()), (self.folder / "blocker").read_text()), ([], "a file, not a folder\n"))

        self.tool("sbatch", 'echo 42')
        self.assertEqual(self.submit().returncode, 0)
        before = {path.name: path.read_text() for path in self.service.iterdir()}
        self.tool("sbatch", refuse)
        self.assertEqual(self.submit("--time", "77").returncode, 3)
        self.assertEqual({path.name: path.read_text() for path in self.service.iterdir()}, before)

    def test_a_job_that_may_have_been_accepted_keeps_its_folder(self):
        self.tool("sbatch", "true")
        self.assertIn("printed no job id", self.submit().stderr)
        self.assertTrue((self.service / "job.sbatch").exists())

    def test_says_where_temporary_files_shall_go(self):
        done = cluster.run("submit", "--model", cluster.DEMO, "--nodes", 1, "--ranks-per-node", 1, "--dry-run", check=False,
                           env={"PATH": f"{self.folder}:{os.environ['PATH']}", "TMPDIR": "/nonexistent/here"})
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("TMPDIR", done.stderr)

    def test_wait_tells_why_a_job_ended(self):
        self.tool("squeue", 'mkdir -p "$HERE/service/job-42"; echo "node n7: too hot" >"$HERE/service/job-42/reason"; echo "FAILED|NonZeroExitCode"')
        done = self.submit("--wait-ready")
        self.assertEqual(done.returncode, 4)
        self.assertIn("job 42 ended (FAILED): node n7: too hot", done.stderr)
        self.tool("squeue", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
        self.assertIn("job 42 ended (gone)", self.submit("--wait-ready").stderr)

    def test_wait_gives_up_in_time_and_prints_a_ready_url(self):
        done = self.submit("--wait-ready", "--wait-timeout", "1")
        self.assertEqual(done.returncode, 4)
        self.assertIn("job 42: PENDING (Resources)", done.stderr)
        with cluster.Cluster(ranks=1, transport="local") as server:
            for path in ("endpoint", "job-42/ready"):
                (self.service / path).parent.mkdir(exist_ok=True)
                (self.service / path).write_text(server.url + "\n")
            done = self.submit("--wait-ready")
            self.assertEqual((done.returncode, done.stdout), (0, server.url + "\n"))

    def test_take_over_names_the_old_job_to_the_new_one(self):
        self.assertEqual(self.submit("--take-over", "41").returncode, 3)
        (self.service / "job-41").mkdir(parents=True)
        self.assertEqual(self.submit("--take-over", "41").returncode, 0)
        self.assertEqual((self.folder / "before").read_text(), f"{self.service}/job-41\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
