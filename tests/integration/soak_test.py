#!/usr/bin/env python3
"""Soak: mixed load with vanishing clients for SECONDS (default 600). Memory, descriptors and K/V blocks must come back,
texts must stay equal."""
import os
import pathlib
import random
import re
import threading
import time
import unittest

import cluster

SECONDS = float(os.environ.get("CONCLAVE_SOAK_SECONDS", "600"))


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Soak(unittest.TestCase):
    def test_nothing_grows_and_nothing_changes(self):
        with cluster.Cluster("--max-running", "32", "--kv-blocks", "300") as server:
            pids = [server.process.pid, *server.rank_pids()]
            expected, wrong, counts = {}, [], {"ok": 0, "left": 0}
            lock = threading.Lock()
            end = time.monotonic() + SECONDS

            def client(number):
                rng = random.Random(number)
                while time.monotonic() < end:
                    key = rng.randrange(12)
                    body = {"model": "demo-moe", "prompt": "item " * (1 + 13 * key), "max_tokens": 8 + 5 * key, "seed": key,
                            "temperature": 0.9 if key % 2 else 0}
                    if rng.random() < 0.3:
                        events = server.stream("/v1/completions", {**body, "ignore_eos": True, "max_tokens": 300})
                        for _ in range(rng.randrange(1, 6)):
                            next(events)
                        events.close()
                        with lock:
                            counts["left"] += 1
                        continue
                    answer = server.post("/v1/completions", body)
                    if answer.status in (429, 503):
                        time.sleep(0.2)
                        continue
                    text = answer.json()["choices"][0]["text"]
                    with lock:
                        counts["ok"] += 1
                        if expected.setdefault(key, text) != text:
                            wrong.append((key, text))

            threads = [threading.Thread(target=client, args=(n,)) for n in range(12)]
            for thread in threads:
                thread.start()
            time.sleep(min(60, SECONDS / 4))
            first = [(rss_kib(p), descriptors(p)) for p in pids]
            for thread in threads:
                thread.join()
            self.assertFalse(wrong[:3])

            def metric(name):
                text = server.get("/metrics", url=server.admin_url).body.decode()
                return sum(float(v) for v in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))
            cluster.wait_for("idle", lambda: metric("conclave_requests_running") == 0, 60)
            last = [(rss_kib(p), descriptors(p)) for p in pids]
            print(f"{counts['ok']} answers, {counts['left']} clients left; (RSS KiB, descriptors) {first} -> {last}")
            for (rss0, _), (rss1, fds1) in zip(first, last):
                self.assertLess(rss1, rss0 * 1.15 + 8192)
                self.assertLess(fds1, 64)
            self.assertGreater(counts["ok"], 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
