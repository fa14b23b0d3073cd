#!/usr/bin/env python3
"""Placement table and routing profile outlive their coordinator: a stop, a kill, a successor. What does not fit is said and left alone."""
import contextlib
import json
import pathlib
import tempfile
import unittest

import cluster

BODY = {"model": "demo-moe", "prompt": "In the beginning", "max_tokens": 24, "ignore_eos": True, "temperature": 0}


def swapped(table):
    """Two experts of the first layer change places."""
    other = json.loads(json.dumps(table))
    row = other["assignment"][0]
    a, b = row.index([0]), row.index([1])
    row[a], row[b] = row[b], row[a]
    return other


class CarryOver(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.state = self.folder / "state"

    def start(self, *flags, ranks=2, **more):
        return cluster.Cluster("--state-dir", str(self.state), "--profile-report-ms", "1", *flags, ranks=ranks, transport="local", **more)

    def admin(self, server, path, body=None):
        answer = server.request("GET" if body is None else "POST", "/admin/v1/" + path, body, url=server.admin_url)
        self.assertIn(answer.status, (200, 202), answer.body)
        return answer.json()

    def text(self, server, model="demo-moe"):
        return server.post("/v1/completions", {**BODY, "model": model}).json()["choices"][0]["text"]

    def placement(self, server):
        """Once nothing is pending."""
        def settled():
            view = self.admin(server, "placement")
            return view if view["pending"] is None else None
        return cluster.wait_for("the end of a re-placement", settled)

    def move_two_experts(self, server):
        table = swapped(self.placement(server)["table"])
        self.admin(server, "placement/apply", {"table": table})
        self.assertEqual(self.placement(server)["table"]["assignment"], table["assignment"])
        return table["assignment"]

    def saved(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.state / "placement.json").read_text())["assignment"]
        return None

    def test_a_stop_a_kill_and_a_start(self):
        with self.start() as first:
            text = self.text(first)
            moved = self.move_two_experts(first)
            epoch = self.placement(first)["epoch"]
            cluster.wait_for("a profile", lambda: self.admin(first, "placement")["profiled_tokens"] > 0)
        self.assertEqual(self.saved(), moved)
        with self.start() as second:
            view = self.placement(second)
            self.assertEqual((view["table"]["assignment"], view["epoch"]), (moved, epoch))
            self.assertGreater(view["profiled_tokens"], 0)
            self.assertEqual(self.text(second), text, "wherever the experts are, the tokens are the same")
            self.assertIn("going on with the saved placement", second.log())
            back = self.move_two_experts(second)
            cluster.wait_for("the new table on disk", lambda: self.saved() == back)
            cluster.kill(second.process.pid)
            second.process.wait()
        with self.start() as third:
            self.assertEqual(self.placement(third)["table"]["assignment"], back)
            self.assertEqual(self.text(third), text)

    def test_a_successor(self):
        file = self.folder / "successor"
        with self.start("--successor-file", str(file), "--handover-linger-s", "0") as old:
            text = self.text(old)
            moved = self.move_two_experts(old)
            cluster.wait_for("the table on disk", lambda: self.saved() == moved)
            with self.start() as new:
                self.assertEqual(self.placement(new)["table"]["assignment"], moved)
                file.write_text(new.url + "\n")
                self.assertEqual(old.process.wait(90 * cluster.PATIENCE), 0)
                self.assertEqual(self.text(new), text)
                last = self.move_two_experts(new)
        self.assertEqual(self.saved(), last)

    def test_what_does_not_fit_is_said_and_left_alone(self):
        with self.start() as first:
            text = self.text(first)
            moved = self.move_two_experts(first)
        flag = self.folder / "table.json"
        table = json.loads((self.state / "placement.json").read_text())
        flag.write_text(json.dumps(swapped(table)))
        with self.start("--placement", str(flag)) as told:
            self.assertEqual(self.placement(told)["table"]["assignment"], swapped(table)["assignment"], "a flag wins")
        (self.state / "placement.json").write_text(json.dumps({**table, "assignment": moved}))
        with self.start(ranks=1) as smaller:
            self.assertIn("the saved placement is not used", smaller.log())
            self.assertIn("2 ranks, the group has 1", smaller.log())
            self.assertEqual(self.text(smaller), text)
        (self.state / "placement.json").write_text("{")
        (self.state / "routing_profile.safetensors").write_bytes(b"nonsense")
        with self.start() as other:
            self.assertIn("the saved placement is not used", other.log())
            self.assertIn("the saved routing profile is not used", other.log())
            self.assertEqual(self.text(other), text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
