#!/usr/bin/env python3
"""A coordinator hands over to another one under load: no request fails, open streams end, the old process exits 0."""
import concurrent.futures
import contextlib
import json
import signal
import threading
import time
import unittest

import cluster

BODY = {"model": "demo-moe", "prompt": "In the beginning", "max_tokens": 24, "ignore_eos": True, "temperature": 0}


class Handover(unittest.TestCase):
    def test_under_load(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(cluster.tempfile.TemporaryDirectory())
            successor_file = cluster.pathlib.Path(folder) / "successor"
            flags = ("--successor-file", str(successor_file), "--handover-linger-s", "2")
            old = stack.enter_context(cluster.Cluster(*flags, ranks=1, transport="local"))
            new = stack.enter_context(cluster.Cluster(ranks=1, transport="local"))
            expected = new.post("/v1/completions", BODY).json()["choices"][0]["text"]
            outcomes, stop, lock, address = [], threading.Event(), threading.Lock(), [old.url]

            def one(number):
                server = old if address[0] == old.url else new
                try:
                    if number % 2:
                        events = list(server.stream("/v1/completions", BODY))
                        text = "".join(json.loads(e)["choices"][0]["text"] for e in events[:-1])
                    else:
                        # Long enough to be read off the event loop: it reaches the engine after its handler returned.
                        long = {**BODY, "user": "x" * 40000} if number % 4 == 0 else BODY
                        answer = server.post("/v1/completions", long)
                        text = answer.json()["choices"][0]["text"] if answer.status == 200 else answer.body
                    outcome = "ok" if text == expected else f"request {number}: {text!r}"
                except Exception as error:  # any trouble of a client is a failed request
                    outcome = repr(error)
                with lock:
                    outcomes.append(outcome)

            def load(pool):
                number, start = 0, time.monotonic()
                while not stop.wait(max(0, start + number / 20 - time.monotonic())):
                    pool.submit(one, number)
                    number += 1

            with concurrent.futures.ThreadPoolExecutor(32) as pool:
                thread = threading.Thread(target=load, args=(pool,))
                thread.start()
                try:
                    cluster.wait_for("answers", lambda: len(outcomes) > 20)
                    # A file that names no cluster changes nothing.
                    successor_file.write_text("nonsense\n")
                    cluster.wait_for("a warning", lambda: "names no cluster" in old.log())
                    slow = pool.submit(lambda: list(old.stream("/v1/completions", {**BODY, "max_tokens": 300})))
                    cluster.wait_for("the old cluster's own stream", lambda: old.get("/v1/models").status == 200)
                    scratch = cluster.pathlib.Path(folder) / "new"
                    scratch.write_text(new.url + "\n")
                    scratch.rename(successor_file)
                    cluster.wait_for("the hand-over", lambda: "handing over" in old.log())
                    before = len(outcomes)
                    cluster.wait_for("answers passed on", lambda: len(outcomes) > before + 15)
                    self.assertEqual(old.get("/ready").status, 200)
                    old.process.send_signal(signal.SIGUSR1)  # what a batch script may still send
                    self.assertEqual(slow.result()[-1], "[DONE]")
                    address[0] = new.url
                    self.assertEqual(old.process.wait(90 * cluster.PATIENCE), 0)
                finally:
                    stop.set()
                    thread.join()
            self.assertEqual([o for o in outcomes if o != "ok"], [])
            self.assertGreater(len(outcomes), 40)


if __name__ == "__main__":
    unittest.main(verbosity=2)
