#!/usr/bin/env python3
"""Experts move while requests run: 4 ranks under load, a re-placement every few seconds for SECONDS (default 30).
No request fails, every text equals the quiet cluster's, rollback and errors do what they say."""
import json
import os
import pathlib
import random
import shutil
import tempfile
import threading
import time
import unittest

import cluster

SECONDS = float(os.environ.get("CONCLAVE_PLACEMENT_SECONDS", "30"))
PERIOD = float(os.environ.get("CONCLAVE_PLACEMENT_PERIOD", "4"))
RANKS = 4


def body_of(key):
    return {"model": "demo-moe", "prompt": "item " * (1 + 11 * key), "max_tokens": 8 + 3 * key, "seed": key,
            "temperature": 0.9 if key % 2 else 0}


def admin(server, method, path, body=None):
    answer = server.request(method, "/admin/v1/" + path, body, url=server.admin_url)
    return answer.status, answer.json()


def shuffled(table, rng):
    """The same number of experts on each rank, other ones; one expert a layer has a replica where a slot is free."""
    moved = json.loads(json.dumps(table))
    for layer, row in enumerate(moved["assignment"]):
        owners = [e * table["ranks"] // table["experts"] for e in range(table["experts"])]
        rng.shuffle(owners)
        moved["assignment"][layer] = [[owner] for owner in owners]
        lucky = rng.randrange(len(row))
        moved["assignment"][layer][lucky] = sorted({owners[lucky], (owners[lucky] + 1) % table["ranks"]})
    return moved


def settled(server):
    """The placement once nothing is pending."""
    def look():
        status, view = admin(server, "GET", "placement")
        return view if status == 200 and view["pending"] is None else None
    return cluster.wait_for("the end of a re-placement", look, 60)


class PlacementLive(unittest.TestCase):
    def test_nothing_fails_and_nothing_changes_while_experts_move(self):
        slots = 1 + 32 // RANKS
        state = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, state)
        with cluster.Cluster("--expert-slots", str(slots), "--kv-blocks", "300", "--nodes", "2", "--state-dir", state, ranks=RANKS) as server:
            keys = range(8)
            quiet = {key: server.post("/v1/completions", body_of(key)).json()["choices"][0]["text"] for key in keys}
            wrong, served = [], [0]
            end = time.monotonic() + SECONDS
            enough = threading.Event()  # time is up and experts have moved twice, however slow the machine is

            def client(number):
                rng = random.Random(number)
                while not enough.is_set():
                    key = rng.choice(keys)
                    answer = server.post("/v1/completions", body_of(key))
                    text = answer.json()["choices"][0]["text"] if answer.status == 200 else answer.body
                    if answer.status != 200 or text != quiet[key]:
                        wrong.append((key, answer.status, text))
                    served[0] += 1

            threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
            for thread in threads:
                thread.start()
            rng = random.Random(1)
            first = settled(server)
            self.assertEqual(first["epoch"], 0)
            self.assertEqual(first["table"]["ranks_per_node"], [2, 2])
            moves, epoch = 0, 0
            try:
                while time.monotonic() < end - 1 or moves < 2:
                    table = shuffled(first["table"], rng)
                    status, dry = admin(server, "POST", "placement/apply", {"table": table, "dry_run": True})
                    self.assertEqual((status, dry["state"]), (200, "dry_run"))
                    status, applied = admin(server, "POST", "placement/apply", {"table": table})
                    self.assertEqual(status, 202, applied)
                    self.assertEqual(applied["moved_experts"], dry["moved_experts"])
                    self.assertGreater(applied["moved_experts"], 0)
                    view = settled(server)
                    self.assertEqual(view["table"]["assignment"], table["assignment"], view["last_failure"])
                    self.assertGreater(view["epoch"], epoch)
                    epoch, moves = view["epoch"], moves + 1
                    time.sleep(max(0, min(PERIOD, end - time.monotonic() - 1)))
            finally:
                enough.set()
            for thread in threads:
                thread.join()
            self.assertFalse(wrong[:3])
            print(f"{served[0]} answers over {moves} re-placements, {epoch} epochs; last pause {view['last_pause_ms']:.3f} ms")
            self.check_rollback(server, view)
            self.check_errors(server, view)
            self.check_plan(server)
            self.check_profile(server, pathlib.Path(state))

    def check_plan(self, server):
        status, planned = admin(server, "POST", "placement/plan",
                                {"objective": "transitions", "max_imbalance": 1.5, "time_limit_s": 3, "migration_budget": "all"})
        self.assertEqual(status, 200, planned)
        self.assertLess(planned["objective_after"], planned["objective_before"])
        self.assertGreater(planned["moved_experts"], 0)
        self.assertEqual(planned["bytes_to_move"] % planned["moved_experts"], 0)
        status, applied = admin(server, "POST", "placement/apply", {"plan_id": planned["plan_id"]})
        self.assertEqual((status, applied["moved_experts"]), (202, planned["moved_experts"]))
        self.assertEqual(settled(server)["table"]["assignment"], planned["table"]["assignment"])
        self.assertEqual(planned["migration_budget"], "all")
        # By default as many as automatic re-plans may move.
        for asked, budget in [({}, 8 * 32 // 4), ({"migration_budget": 0}, 0)]:
            status, few = admin(server, "POST", "placement/plan", {"max_imbalance": 8, "time_limit_s": 0.3, **asked})
            self.assertEqual((status, few["migration_budget"]), (200, budget))
            self.assertLessEqual(few["moved_experts"], budget)
        for body, word in [({"migration_budget": "some"}, "migration_budget"), ({"objective": "beauty"}, "transitions"),
                           ({"max_imbalance": 0.5}, "max_imbalance"),
                           ({"solver": 3}, "solver")]:
            status, answer = admin(server, "POST", "placement/plan", body)
            self.assertEqual(status, 400)
            self.assertIn(word, answer["error"]["message"])

    def check_rollback(self, server, view):
        status, answer = admin(server, "POST", "placement/rollback")
        self.assertEqual(status, 202, answer)
        back = settled(server)
        self.assertNotEqual(back["table"]["assignment"], view["table"]["assignment"])
        status, _ = admin(server, "POST", "placement/rollback", {"dry_run": False})
        self.assertEqual(status, 202)
        self.assertEqual(settled(server)["table"]["assignment"], view["table"]["assignment"])

    def check_errors(self, server, view):
        table = {key: value for key, value in view["table"].items() if key != "ranks_per_node"}
        for body, expected, word in [
                ({}, 400, "either"),
                ({"plan_id": "plan-99"}, 404, "plan-99"),
                ({"table": {**table, "model_fingerprint": "another"}}, 400, "another"),
                ({"table": {**table, "ranks": 5}}, 400, "5 ranks"),
                ({"table": {**table, "assignment": [[[0]] * table["experts"]] * len(table["moe_layers"])}}, 400, "slots"),
                ({"table": 7}, 400, "placement table"), ({"dry_run": "yes"}, 400, "dry_run")]:
            status, answer = admin(server, "POST", "placement/apply", body)
            self.assertEqual(status, expected, answer)
            self.assertIn(word, answer["error"]["message"])

    def check_profile(self, server, state):
        status, profile = admin(server, "GET", "profile")
        self.assertEqual(status, 200)
        self.assertGreater(profile["tokens"], 100)
        self.check_saved_profiles(server, state)
        self.assertEqual(admin(server, "POST", "profile/stop")[0], 200)
        self.assertEqual(admin(server, "POST", "profile/start")[0], 200)
        self.assertLess(admin(server, "GET", "profile")[1]["tokens"], profile["tokens"])

    def check_saved_profiles(self, server, state):
        """Clients name documents in a folder of the coordinator's, and nothing they send is a path."""
        status, saved = admin(server, "POST", "profile/save", {"name": "profile.json"})
        self.assertEqual((status, saved["file"]), (200, str(state / "documents/profile.json")))
        self.assertEqual(json.loads((state / "documents/profile.json").read_text())["experts"], 32)
        self.assertEqual((state / "documents").stat().st_mode & 0o777, 0o700)
        self.assertEqual((state / "documents/profile.json").stat().st_mode & 0o777, 0o600)
        self.assertEqual(admin(server, "POST", "profile/save", {"name": "rows.safetensors"})[0], 200)
        for name in ("profile.json", "rows.safetensors"):
            self.assertEqual(admin(server, "POST", "profile/load", {"name": name})[0], 200)
        self.assertEqual(admin(server, "POST", "profile/load", {"name": "none.json"})[0], 404)
        precious = server.folder / "precious"
        precious.write_text("mine")
        for verb in ("save", "load"):
            for body in ({"path": str(precious)}, {"name": str(precious)}, {"name": "../../precious"}, {"name": ".."}, {"name": ""}, {},
                         {"path": str(precious), "name": "profile.json"}):
                status, answer = admin(server, "POST", "profile/" + verb, body)
                self.assertEqual(status, 400, (verb, body, answer))
        self.assertEqual(precious.read_text(), "mine")
        # A profile that a client has is sent, not named.
        self.assertEqual(admin(server, "POST", "profile/load", {"profile": admin(server, "GET", "profile")[1]})[0], 200)
        self.assertEqual(admin(server, "POST", "profile/load", {"profile": {"experts": 3}})[0], 400)

    def test_the_cluster_replans_by_itself(self):
        with cluster.Cluster("--replan", "auto", "--replan-period-s", "0.5", "--replan-time-limit-s", "2", "--profile-report-ms",
                             "50", "--kv-blocks", "300", ranks=2) as server:
            self.assertTrue(admin(server, "GET", "placement")[1]["auto"])
            texts = {}

            def moved():
                for key in range(8):
                    answer = server.post("/v1/completions", {**body_of(key), "ignore_eos": True, "max_tokens": 100})
                    text = answer.json()["choices"][0]["text"]
                    self.assertEqual(texts.setdefault(key, text), text)
                return admin(server, "GET", "placement")[1]["epoch"] > 0
            # The profile needs 4,096 tokens first, which a busy machine makes slowly.
            cluster.wait_for("a re-placement of its own", moved, 400)
            moved()

    def test_a_rank_that_dies_on_the_way_leaves_a_consistent_table(self):
        with cluster.Cluster("--kv-blocks", "300", ranks=2) as server:
            expected = server.post("/v1/completions", body_of(3)).json()["choices"][0]["text"]
            rng = random.Random(2)
            table = json.loads(json.dumps(settled(server)["table"]))
            for row in table["assignment"]:
                rng.shuffle(row)
            status, answer = admin(server, "POST", "placement/apply", {"table": table})
            self.assertEqual(status, 202, answer)
            cluster.kill(server.rank_pids()[-1])
            cluster.wait_for("the restart", lambda: b"conclave_group_restarts_total 1" in
                             server.get("/metrics", url=server.admin_url).body, 60)
            cluster.wait_for("ready", lambda: server.get("/ready").status == 200, 60)
            self.assertEqual(server.post("/v1/completions", body_of(3)).json()["choices"][0]["text"], expected)
            view = settled(server)
            self.assertEqual(admin(server, "POST", "placement/apply", {"table": table})[0] in (200, 202), True)
            self.assertEqual(settled(server)["table"]["assignment"], table["assignment"], view)
            self.assertEqual(server.post("/v1/completions", body_of(3)).json()["choices"][0]["text"], expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
