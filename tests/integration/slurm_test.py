#!/usr/bin/env python3
"""Conclave as a job of a real Slurm: submit, requests, drain, dead ranks, a dead coordinator, pre-flight, hand-over."""
import concurrent.futures
import json
import os
import pathlib
import sys
import unittest

import cluster
import slurm_box
from listeners import listeners

REASON = slurm_box.why_not()
if REASON:
    print(f"skipped: {REASON}")
    sys.exit(77)

PROMPT = {"model": "demo-moe", "prompt": "In the beginning", "max_tokens": 24, "ignore_eos": True, "temperature": 0}


class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.box = slurm_box.SlurmBox(apart=1)
        cls.addClassCleanup(cls.box.__exit__)
        cls.box.__enter__()
        cls.box.enter_network()
        cls.start_a_job_of_two_minutes()

    @classmethod
    def start_a_job_of_two_minutes(cls):
        """It lives on a node of its own while the other tests run; test_wall_time sees how it ended."""
        # Slurm may send the signal 60 s before the lead begins: here 30 s after the start at the earliest.
        minutes = 2 if cluster.PATIENCE <= 1 else 4
        cls.limited = cls.box.submit("limited", "--time", minutes, "--lead", "30", "--partition", "apart", "--name", "limited", "--no-preflight", nodes=1,
                                     env={"CONCLAVE_FAULT": "slow:rank=0,ms=20"})
        key = (cls.box.home / "limited/api_key").read_text().strip()
        cls.client = slurm_box.BusyUntilTheEnd(cls.box, cls.limited.endpoint, key, PROMPT, tokens=300)
        cls.addClassCleanup(cls.client.end)

    def tearDown(self):
        """What a failed test leaves shall not take the nodes from the next one."""
        for flags in (["--signal=KILL"], []):
            self.box.run("scancel", "--partition=main", *flags, check=False)
        cluster.wait_for("free nodes", lambda: not self.box.run("squeue", "--noheader", "--partition=main").stdout.strip(), 90)

    def key(self, service):
        return (self.box.home / service / "api_key").read_text().strip()

    def test_life_of_a_job(self):
        """render = submitted bytes, dry run, ready, 50 requests, a dead rank, drain on USR1 with requests open, exit 0."""
        shape = self.box.submit_command("life", "--time", "30", "--lead", "600")
        rendered = self.box.run(*shape, "--render").stdout
        self.assertIn("to start at", self.box.run(*shape, "--dry-run").stdout)
        refused = self.box.run(*shape, "--partition", "nowhere", "--dry-run", check=False)
        self.assertEqual(refused.returncode, 3, refused)
        self.assertIn("nvalid partition", refused.stderr)
        refused = self.box.run(*shape, "--partition", "nowhere", check=False)
        self.assertEqual(refused.returncode, 3, refused)
        self.assertFalse((self.box.home / "life").exists(), "what the real sbatch refuses leaves nothing either")

        job = self.box.submit("life", "--time", "30", "--lead", "600")
        service = self.box.home / "life"
        self.assertEqual((service / "job.sbatch").read_text(), rendered)
        self.assertEqual(job.text("script.sbatch"), rendered)
        self.assertEqual((service / "endpoint").read_text().strip(), job.endpoint)
        target = json.loads((service / "targets" / f"job-{job.id}.json").read_text())
        self.assertEqual(target[0]["targets"], [job.text("admin").strip().removeprefix("http://")])
        for secret in (job.folder / "secret", service / "api_key"):
            self.assertEqual(secret.stat().st_mode & 0o777, 0o600)
        key = self.key("life")
        self.check_no_secret(job, key)
        self.assertEqual(slurm_box.ask(job.endpoint, "wrong", PROMPT)[0], 401)

        bodies = [{**PROMPT, "prompt": f"Chapter {i}", "stream": i % 2 == 0} for i in range(50)]
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda body: slurm_box.ask(job.endpoint, key, body), bodies))
        self.assertEqual([status for status, _ in answers], [200] * 50)
        self.assertEqual(len(job.ranks()), 2)
        self.assertTrue(all(job.folder.joinpath(f"log/rank-{r}.log").exists() for r in (0, 1)))

        self.replace_a_dead_step(job, key)
        self.drain_with_requests_open(job, key)
        self.assertFalse((service / "endpoint").exists())
        self.assertFalse(list((service / "targets").iterdir()))
        saved = json.loads((service / "state" / "placement.json").read_text())
        self.assertEqual(saved["ranks"], 2, "what the next job of the service goes on from")

    def check_no_secret(self, job, key):
        secret = job.text("secret").strip()
        shown = job.box.run("scontrol", "show", "job", job.id).stdout + job.text("script.sbatch") + job.text("config.toml")
        for pid in [job.coordinator(), *job.ranks()]:
            shown += pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            shown += pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        self.assertNotIn(secret, shown)
        self.assertNotIn(key, shown)

    def replace_a_dead_step(self, job, key):
        before = job.ranks()
        steps = self.steps(job)
        slurm_box.kill(before[-1])
        cluster.wait_for("two new ranks", lambda: len(set(job.ranks()) - set(before)) == 2, 90)
        cluster.wait_for("answers again", lambda: slurm_box.ask(job.endpoint, key, PROMPT)[0] == 200, 90)
        self.assertEqual(job.state(), "RUNNING")
        self.assertNotEqual(self.steps(job), steps)
        self.assertEqual(len(self.steps(job)), 1, "one step of ranks in the same allocation")
        self.assertEqual(job.scontrol()["Restarts"], "0")

    def steps(self, job):
        text = self.box.run("squeue", "--noheader", "--steps", f"--jobs={job.id}", "--format=%i %j").stdout
        return [line.split()[0] for line in text.splitlines() if line.split()[1] == "conclave-ranks"]

    def drain_with_requests_open(self, job, key):
        def long_request(number):
            return slurm_box.ask(job.endpoint, key, {**PROMPT, "max_tokens": 800, "prompt": f"Part {number}", "stream": True})
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            running = [pool.submit(long_request, i) for i in range(6)]
            cluster.wait_for("six open requests", lambda: self.running(job) == 6, 60)
            job.signal("USR1")
            job.signal("USR1")  # a second one changes nothing
            cluster.wait_for("refusals while draining", lambda: self.refused(job, key), 60)
            for future in running:
                status, events = future.result()
                self.assertEqual((status, events[-1]), (200, "[DONE]"))
                self.assertFalse([e for e in events if '"error"' in e])
        end = job.wait_end(240)
        self.assertEqual((end["JobState"], end["ExitCode"]), ("COMPLETED", "0:0"))

    def running(self, job):
        connection = cluster.http.client.HTTPConnection(job.text("admin").strip().removeprefix("http://"), timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return float(next(line for line in text.splitlines() if line.startswith("conclave_requests_running ")).split()[1])

    def refused(self, job, key):
        parts = cluster.urllib.parse.urlsplit(job.endpoint)
        connection = cluster.http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        try:
            connection.request("POST", "/v1/completions", json.dumps({**PROMPT, "max_tokens": 1}),
                               {"Content-Type": "application/json", "Authorization": "Bearer " + key})
            answer = connection.getresponse()
            return answer.status == 503 and int(answer.getheader("Retry-After")) > 0
        finally:
            connection.close()

    def test_dead_coordinator_is_requeued_three_times(self):
        job = self.box.submit("requeue", "--time", "10", "--no-preflight")
        key = self.key("requeue")
        slurm_box.kill(job.coordinator())
        cluster.wait_for("the requeue", lambda: job.state() == "PENDING", 60)
        self.assertFalse((self.box.home / "requeue" / "endpoint").exists())
        # Slurm holds a requeued job back for two minutes.
        self.box.run("scontrol", "update", f"jobid={job.id}", "StartTime=now")
        endpoint = self.box.home / "requeue" / "endpoint"
        cluster.wait_for("the job's second life", endpoint.exists, 90)
        self.assertEqual(slurm_box.ask(endpoint.read_text().strip(), key, PROMPT)[0], 200)
        self.assertEqual(job.scontrol()["Restarts"], "1")
        # As if that were the last of three.
        self.assertEqual(job.text("requeues"), "1\n")
        (job.folder / "requeues").write_text("3\n")
        slurm_box.kill(job.coordinator())
        end = job.wait_end()
        self.assertEqual((end["JobState"], end["ExitCode"]), ("FAILED", "1:0"))
        self.assertIn("requeued 3 times already", job.text("reason"))

    def test_preflight_names_the_node(self):
        (self.box.folder / "task_environment.n2").write_text("export CONCLAVE_CUDA_DRIVER_LIBRARY=/nonexistent/libcuda.so.1\n")
        libraries = pathlib.Path(os.environ.get("CONCLAVE_BINARY_DIR", "")) / "tests" / "fake_cuda.so"
        if not libraries.exists():
            self.skipTest(f"{libraries} is not built")
        (self.box.folder / "task_environment.n1").write_text(
            "".join(f"export CONCLAVE_{name}_LIBRARY={libraries}\n" for name in ("CUDA_DRIVER", "CUDA_RUNTIME", "NCCL")))
        self.addCleanup(lambda: [f.unlink() for f in self.box.folder.glob("task_environment.*")])
        done = self.box.run(*self.box.submit_command("gpus", "--gpus-per-node", "2", "--time", "5"), "--wait-ready", check=False, timeout=180)
        self.assertEqual(done.returncode, 4, done)
        self.assertIn("pre-flight failed: node n2: has no usable GPU driver", done.stderr)
        self.assertNotIn("node n1", done.stderr)
        job_id = next((self.box.home / "gpus").glob("job-*")).name[4:]
        shown = self.box.run("scontrol", "show", "job", job_id).stdout
        self.assertIn("ExitCode=3:0", shown)
        self.assertIn("Comment=conclave: pre-flight failed: node n2", shown)

    @staticmethod
    def is_rank_of(proc, folder):
        try:
            return (proc / "comm").read_text().startswith("conclave-worker") and str(folder).encode() in (proc / "cmdline").read_bytes()
        except OSError:
            return False

    def test_chain_hands_over_without_a_failed_request(self):
        flags = ("--time", "10", "--lead", "120", "--chain", "--handover-linger", "3", "--no-preflight")
        first = self.box.submit("chain", *flags, nodes=1)
        service = self.box.home / "chain"
        ranks = [int(proc.name) for proc in pathlib.Path("/proc").iterdir() if proc.name.isdigit() and self.is_rank_of(proc, first.folder)]
        self.assertTrue(ranks)
        self.assertEqual({address for _, address in listeners(ranks)} - {"127.0.0.1", "::1"}, set(), "ranks of one node listen on loopback alone")
        body = {**PROMPT, "max_tokens": 32}
        with slurm_box.OpenLoop(self.box, service / "endpoint", self.key("chain"), rate=8, body=body) as load:
            cluster.wait_for("some answers", lambda: len(load.outcomes) >= 20, 60)
            first.signal("USR1")
            cluster.wait_for("the successor's endpoint", lambda: (service / "endpoint").read_text().strip() != first.endpoint, 90)
            end = first.wait_end(90)
            after = len(load.outcomes)
            cluster.wait_for("answers of the successor", lambda: len(load.outcomes) >= after + 20, 60)
        self.assertEqual([outcome for outcome in load.outcomes if outcome[1] != "ok"], [])
        self.assertEqual(len({url for url, _ in load.outcomes}), 2)
        self.assertEqual((end["JobState"], end["ExitCode"]), ("COMPLETED", "0:0"))
        self.assertIn("handing over", first.log())
        successors = [f.name[4:] for f in service.glob("job-*") if f.name != first.folder.name]
        self.assertEqual(len(successors), 1)
        self.take_over_by_hand(successors[0], flags)

    def test_chain_drains_when_the_successor_is_late(self):
        """The job holds all cores, so its successor cannot start before it ends."""
        first = self.box.submit("late", "--time", "10", "--lead", "3", "--chain", "--no-preflight", cpus=4)
        first.signal("USR1")
        end = first.wait_end(90)
        self.assertEqual((end["JobState"], end["ExitCode"]), ("COMPLETED", "0:0"))
        self.assertIn("is not ready in time: draining", first.log())
        # It comes after the gap; here it need not.
        self.assertIn("was submitted to take over", first.log())
        waiting = self.box.run("squeue", "--noheader", "--partition=main", "--format=%i").stdout.split()
        self.assertEqual(len(waiting), 1)

    def test_wall_time(self):
        """Nobody signals this job but Slurm, because its time ends: it refuses, finishes what it has, exits 0 before its limit."""
        end = self.limited.wait_end(240)
        log = self.limited.log()
        self.assertEqual((end["JobState"], end["ExitCode"]), ("COMPLETED", "0:0"), log)
        self.assertIn("got USR1", log)
        self.client.end()
        streams, questions = self.client.streams, self.client.questions
        # What was accepted was answered; after the last answer there are refusals, then nobody.
        for outcomes in (*streams, questions):
            self.assertGreater(outcomes.count("ok"), 1, outcomes)
            self.assertEqual(outcomes, ["ok"] * outcomes.count("ok") + ["refused"] * outcomes.count("refused") + ["gone"] * outcomes.count("gone"))
        self.assertIn("refused", questions, "a stream was open while the job drained, so somebody must have been refused")
        print(f"the job of {end['TimeLimit']} ran {end['RunTime']}; {sum(s.count('ok') for s in streams)} streams and {questions.count('ok')} "
              f"questions answered, {questions.count('refused')} refused", flush=True)

    def take_over_by_hand(self, old_id, flags):
        """An upgrade: a new job asks the old one to hand over; TERM then drains, where USR1 would start a successor."""
        old = slurm_box.Job(self.box, {"job_id": old_id, "job_folder": self.box.home / "chain" / f"job-{old_id}", "endpoint": None})
        new = self.box.submit("chain", *flags, "--take-over", old_id, nodes=1)
        end = old.wait_end(90)
        self.assertIn("handing over", old.log())
        self.assertEqual((end["JobState"], end["ExitCode"]), ("COMPLETED", "0:0"))
        self.assertEqual((self.box.home / "chain" / "endpoint").read_text().strip(), new.endpoint)
        new.signal("TERM")
        end = new.wait_end(90)
        self.assertEqual((end["JobState"], end["ExitCode"]), ("COMPLETED", "0:0"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
