#!/usr/bin/env python3
"""Starting: ranks that die or refuse, launchers and folders that do not work, ports that are taken, what is left behind
after kill -9, who listens, and models that answer with rubbish."""
import json
import os
import pathlib
import shutil
import socket
import struct
import tempfile
import unittest

import cluster
from listeners import listeners

WORKER = cluster.BINARY.parent.parent / "libexec/conclave/conclave-worker"
GROUP_DIED = 75  # docs/cli.md


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def script(self, name, text):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    def serve(self, *flags, ranks=2, transport="mpi", model=cluster.DEMO, env=None, timeout=120):
        """A cluster that is expected to end by itself."""
        return cluster.run("serve", "--model", model, "--ranks", ranks, "--transport", transport, "--port", 0, "--admin-port", 0, *flags,
                           check=False, env=env, timeout=timeout)

    def last_sentence(self, done):
        lines = done.stderr.strip().splitlines()
        self.assertTrue(lines and lines[-1].startswith("conclave: "), done.stderr)
        return lines[-1]


class FirstStart(Folder):
    def dying_worker(self, times):
        """Rank 1 kills itself at its first starts, before it joins; then it is a worker."""
        return self.script("worker", f'''if [ "$OMPI_COMM_WORLD_RANK" = 1 ] && [ "$(ls {self.folder} | grep -c death)" -lt {times} ]; then
  touch "{self.folder}/death.$$"
  kill -9 $$
fi
exec {WORKER} "$@"
''')

    def test_a_rank_that_dies_is_named_and_started_again(self):
        with cluster.Cluster(env={"CONCLAVE_WORKER": str(self.dying_worker(2))}) as server:
            log = server.log()
            self.assertRegex(log, r'worker group failed .*rank 1 \(host [^)]+\) was killed by signal 9 \(Killed\) while the group was starting, before it had joined')
            self.assertEqual(server.get("/health").json()["restarts"], 2)
            self.assertIn("signal 9", server.get("/health").json()["last_failure"])

    def test_it_is_given_up_with_an_exit_code_of_its_own(self):
        done = self.serve("--start-attempts", 2, env={"CONCLAVE_WORKER": str(self.dying_worker(100))})
        self.assertEqual(done.returncode, GROUP_DIED, done.stderr)
        self.assertRegex(self.last_sentence(done), r"did not come up in 2 attempts; the last failure: rank 1 \(host .*signal 9")

    def test_one_process_for_all_ranks(self):
        worker = self.script("worker", "kill -11 $$\n")
        done = self.serve("--start-attempts", 2, transport="local", env={"CONCLAVE_WORKER": str(worker)})
        self.assertEqual(done.returncode, GROUP_DIED, done.stderr)
        self.assertIn("signal 11", self.last_sentence(done))

    def test_a_refusal_is_said_once(self):
        done = self.serve("--kv-memory", "1B")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("worker group failed"), 1)
        self.assertIn("rank ", self.last_sentence(done))

    def test_offline_commands_tell_a_death_from_a_refusal(self):
        died = cluster.run("generate", "--model", cluster.DEMO, "--ranks", 2, "--transport", "mpi", "--prompt", "a", check=False,
                           env={"CONCLAVE_WORKER": str(self.dying_worker(100))})
        self.assertEqual(died.returncode, GROUP_DIED, died.stderr)
        self.assertIn("signal 9", died.stderr)


class Launcher(Folder):
    def test_an_mpirun_that_is_not_there(self):
        for program, word in (("/nowhere/mpirun", "No such file"), (__file__, "Permission denied")):
            os.chmod(__file__, os.stat(__file__).st_mode)  # as it is; tests are not executable where they are installed
            if os.access(program, os.X_OK):
                continue
            done = self.serve("--mpirun", program)
            self.assertEqual(done.returncode, 3, done.stderr)
            sentence = self.last_sentence(done)
            for part in (program, word, "--mpirun", "--transport local"):
                self.assertIn(part, sentence)

    def test_an_mpirun_that_fails_at_once_is_quoted(self):
        mpirun = self.script("mpirun", "echo 'there are no slots left' >&2\nexit 41\n")
        done = self.serve("--mpirun", mpirun, "--start-attempts", 2)
        self.assertEqual(done.returncode, GROUP_DIED, done.stderr)
        self.assertRegex(self.last_sentence(done), r"exited with status 41; it said: there are no slots left")
        done = self.serve("--mpi-args", "--bogus", "--start-attempts", 1)
        self.assertIn("bogus", self.last_sentence(done))

    def test_a_wrong_tmpdir_is_named(self):
        file = self.folder / "file"
        file.write_text("")
        for wrong in ("/nowhere/at/all", str(file)):
            for command in (lambda: self.serve(env={"TMPDIR": wrong}),
                            lambda: cluster.run("generate", "--model", cluster.DEMO, "--ranks", 2, "--transport", "mpi", "--prompt", "a", check=False, env={"TMPDIR": wrong})):
                done = command()
                self.assertEqual(done.returncode, 3, done.stderr)
                for part in ("TMPDIR", wrong, "no folder", "unset"):
                    self.assertIn(part, self.last_sentence(done))

    def test_a_long_tmpdir_and_no_home_work(self):
        long = self.folder / ("x" * 180)
        long.mkdir()
        env = {"TMPDIR": str(long), "HOME": ""}
        done = cluster.run("generate", "--model", cluster.DEMO, "--ranks", 2, "--transport", "mpi", "--prompt", "a", "--max-tokens", 2, env=env)
        self.assertTrue(done.stdout)
        self.assertEqual(list(long.iterdir()), [])


class Ports(Folder):
    def test_a_port_that_is_taken_names_the_flag(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for flag in ("--port", "--admin-port", "--worker-port"):
                ports = {"--port": 0, "--admin-port": 0, flag: port}
                done = cluster.run("serve", "--model", cluster.DEMO, "--transport", "local", *sum(([k, v] for k, v in ports.items()), []), check=False)
                self.assertEqual(done.returncode, 4, done.stderr)
                sentence = self.last_sentence(done)
                self.assertIn(f"{flag} {port}: ", sentence)
                self.assertIn(f"give {flag} another number, or 0", sentence)

    def test_a_socket_that_is_taken_names_the_flag(self):
        with socket.socket(socket.AF_UNIX) as taken:
            path = str(self.folder / "socket")
            taken.bind(path)
            taken.listen()
            done = self.serve("--admin-socket", path, ranks=1, transport="local")
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("--admin-socket: ", self.last_sentence(done))


class Sockets(unittest.TestCase):
    def test_a_group_of_one_host_listens_on_loopback_alone(self):
        with cluster.Cluster() as server:
            pids = [server.process.pid, *cluster.descendants(server.process.pid)]
            self.assertGreaterEqual(len(pids), 4)
            found = listeners(pids)
            self.assertGreaterEqual(len(found), 3)
            for pid, address in found:
                name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
                self.assertTrue(address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1"), f"{name} listens on {address}")
            ranks = set(server.rank_pids())
            self.assertFalse([pid for pid, _ in found if pid in ranks], "ranks need no listener")
            for pid in ranks:
                self.assertNotIn(b"conclave_loopback", pathlib.Path(f"/proc/{pid}/environ").read_bytes())

    def test_an_operators_own_settings_win(self):
        with cluster.Cluster("--mpi-args", "--mca btl self,tcp --mca oob_tcp_if_exclude docker0", env={"OMPI_MCA_pml": "ob1"}) as server:
            environment = pathlib.Path(f"/proc/{server.rank_pids()[0]}/environ").read_bytes().split(b"\0")
            self.assertIn(b"OMPI_MCA_btl=self,tcp", environment)
            self.assertFalse([line for line in environment if line.startswith(b"OMPI_MCA_oob_tcp_if_include")])


class Leftovers(Folder):
    def setUp(self):
        super().setUp()
        self.tmp = self.folder / "tmp"
        self.tmp.mkdir()

    def cluster(self, **more):
        return cluster.Cluster(env={"TMPDIR": str(self.tmp)}, **more)

    def memory(self, server):
        """The cluster's folder of shared memory, as its ranks were told."""
        for line in pathlib.Path(f"/proc/{server.rank_pids()[0]}/environ").read_bytes().decode().split("\0"):
            if line.startswith("OMPI_MCA_btl_vader_backing_directory="):
                return pathlib.Path(line.split("=", 1)[1]).parent
        raise AssertionError("ranks were told no folder")

    def restarted(self, server, kill):
        restarts = server.get("/health").json()["restarts"]
        kill()
        cluster.wait_for("a restart", lambda: server.get("/health").json()["restarts"] > restarts and server.get("/ready").status == 200, 90)

    def test_after_an_end_in_order(self):
        with self.cluster() as server:
            self.assertEqual(len(list(self.tmp.iterdir())), 1)
            memory = self.memory(server)
            self.assertEqual(str(memory.parent), "/dev/shm")
            self.assertEqual(len(list(memory.glob("mpi/*"))), 2, "a segment a rank")
        self.assertEqual(list(self.tmp.iterdir()), [])
        self.assertFalse(memory.exists())

    def test_after_kill_9_of_a_rank_and_of_mpirun(self):
        with self.cluster() as server:
            for victim in (lambda: server.rank_pids()[0], lambda: cluster.descendants(server.process.pid, "mpirun")[0]):
                pid = victim()
                below = [pid, *cluster.descendants(pid)]
                self.restarted(server, lambda: cluster.kill(pid))
                self.assertFalse([p for p in below if cluster.alive(p)])
                sessions = list(self.tmp.glob("conclave-run-*/mpi/ompi.*/pid.*"))
                self.assertEqual(len(sessions), 1, "the session of the mpirun that runs, and none before")
                self.assertEqual(len(list(self.memory(server).glob("mpi/*"))), 2)
            memory = self.memory(server)
        self.assertEqual(list(self.tmp.iterdir()), [])
        self.assertFalse(memory.exists())

    def test_after_kill_9_of_the_coordinator_the_next_start_sweeps(self):
        for transport in ("mpi", "local"):
            with self.cluster(transport=transport) as server:
                below = cluster.descendants(server.process.pid)
                left = list(self.tmp.iterdir()) + ([self.memory(server)] if transport == "mpi" else [])
                cluster.kill(server.process.pid)
                server.process.wait()
                cluster.wait_for("orphans end themselves", lambda: not any(map(cluster.alive, below)), 60)
            self.assertTrue(all(path.exists() for path in left), "else there is nothing to sweep")
            with self.cluster() as server:
                self.assertFalse([path for path in left if path.exists()], server.log())
            self.assertEqual(list(self.tmp.iterdir()), [])

    def test_a_cluster_that_lives_keeps_its_folder(self):
        with self.cluster() as server:
            mine = [*self.tmp.iterdir(), self.memory(server)]
            cluster.run("generate", "--model", cluster.DEMO, "--ranks", 2, "--transport", "mpi", "--prompt", "a", "--max-tokens", 2, env={"TMPDIR": str(self.tmp)})
            self.assertEqual([*self.tmp.iterdir(), self.memory(server)], mine)
            self.restarted(server, lambda: cluster.kill(server.rank_pids()[0]))


def changed_model(folder, change):
    """A copy of the demo model; change(name) gives the 16-bit pattern that fills a tensor, or None."""
    shutil.copytree(cluster.DEMO, folder, symlinks=False, dirs_exist_ok=True)
    changed = 0
    for path in folder.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + size]).items():
            pattern = None if name == "__metadata__" else change(name)
            if pattern is None:
                continue
            assert entry["dtype"] == "BF16", entry
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            data[begin:end] = struct.pack("<H", pattern) * ((end - begin) // 2)
            changed += 1
        path.chmod(0o644)
        path.write_bytes(data)
    assert changed, "no such tensor"
    return folder


class Rubbish(Folder):
    def norm(self, pattern):
        return changed_model(self.folder / "model", lambda name: pattern if name == "model.norm.weight" else None)

    def test_nan_is_never_ready(self):
        model = self.norm(0x7FC0)
        for transport in ("mpi", "local"):
            done = self.serve(model=model, transport=transport, timeout=60)
            self.assertEqual(done.returncode, 3, done.stderr)
            for part in ("start-up check", "NaN", "weights"):
                self.assertIn(part, self.last_sentence(done))

    def test_infinity_and_equal_logits_are_never_ready(self):
        for pattern, word in ((0x7F80, "NaN|infinite"), (0, "all logits of the model are equal")):
            done = self.serve(model=self.norm(pattern), ranks=1, transport="local", timeout=60)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertRegex(self.last_sentence(done), word)

    def test_offline_commands_say_so(self):
        model = self.norm(0x7FC0)
        for command in (["generate", "--prompt", "a"], ["logits", "--ids", "1,2", "--out", self.folder / "logits"]):
            done = cluster.run(command[0], "--model", model, *command[1:], check=False)
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("NaN", self.last_sentence(done))

    def test_the_check_is_in_no_metric_of_clients(self):
        with cluster.Cluster(ranks=1, transport="local") as server:
            metrics = server.get("/metrics", url=server.admin_url).body.decode()
            for name in ("conclave_requests_total", "conclave_prompt_tokens_total", "conclave_generated_tokens_total"):
                values = [float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name)]
                self.assertFalse(any(values) and name != "conclave_prompt_tokens_total", metrics)


class Ready(Folder):
    def test_why_and_since_when(self):
        go = self.folder / "go"
        worker = self.script("worker", f'while [ ! -e {go} ]; do sleep 0.05; done\nexec {WORKER} "$@"\n')
        with cluster.Cluster(ranks=1, transport="local", env={"CONCLAVE_WORKER": str(worker)}, ready=False) as server:
            answer = server.get("/ready")
            self.assertEqual(answer.status, 503)
            self.assertIs(answer.json()["ready"], False)
            self.assertIn("0 of 1 ranks have joined", answer.json()["reason"])
            self.assertRegex(answer.json()["since"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            self.assertEqual(answer.json()["error"]["code"], "loading")
            go.touch()
            cluster.wait_for("ready", lambda: server.get("/ready").status == 200, 60)
            self.assertIs(server.get("/ready").json()["ready"], True)
            server.post("/admin/v1/cordon", {"reason": "new disks"}, url=server.admin_url)
            answer = server.get("/ready").json()
            self.assertIn("new disks", answer["reason"])
            self.assertEqual(answer["error"]["code"], "draining")
            status = server.get("/admin/v1/status", url=server.admin_url).json()["readiness"]
            self.assertEqual([status["ready"], status["reason"], status["since"]], [False, answer["reason"], answer["since"]])
            server.post("/admin/v1/undrain", {}, url=server.admin_url)
            cluster.wait_for("ready", lambda: server.get("/ready").status == 200, 60)

    def test_after_a_failure(self):
        go = self.folder / "go"
        go.touch()
        worker = self.script("worker", f'while [ ! -e {go} ]; do sleep 0.05; done\nexec {WORKER} "$@"\n')
        with cluster.Cluster(ranks=1, transport="local", env={"CONCLAVE_WORKER": str(worker)}) as server:
            go.unlink()
            cluster.kill(server.rank_pids()[0])
            answer = cluster.wait_for("not ready", lambda: (a := server.get("/ready")).status == 503 and a, 60).json()
            self.assertRegex(answer["reason"], r"rank 0 \(host [^)]+\)")
            self.assertTrue(answer["since"])
            go.touch()
            cluster.wait_for("ready", lambda: server.get("/ready").status == 200, 60)


class DrainCounts(unittest.TestCase):
    LONG = {"model": "demo-moe", "prompt": "In the beginning", "max_tokens": 1500, "ignore_eos": True, "temperature": 0}

    def test_what_failed_in_a_drain_is_said(self):
        with cluster.Cluster(env={"CONCLAVE_FAULT": "slow:rank=0,ms=10"}) as server:
            events = server.stream("/v1/completions", self.LONG)
            next(events)
            server.process.terminate()
            cluster.wait_for("draining", lambda: server.get("/ready").status == 503, 60)
            cluster.kill(server.rank_pids()[0])
            list(events)
            self.assertEqual(server.process.wait(60 * cluster.PATIENCE), 0, server.log())
            self.assertRegex(server.log(), r"draining: .*open=1")
            self.assertRegex(server.log(), r"warning \[coordinator\] drained finished=0 failed=1 cancelled=0 open=0")

    def test_what_finished_is_counted(self):
        with cluster.Cluster(ranks=1, transport="local") as server:
            events = server.stream("/v1/completions", {**self.LONG, "max_tokens": 300})
            next(events)
            server.process.terminate()
            list(events)
            self.assertEqual(server.process.wait(60 * cluster.PATIENCE), 0)
            self.assertRegex(server.log(), r"info \[coordinator\] drained finished=1 failed=0 cancelled=0 open=0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
