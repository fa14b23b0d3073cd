#!/usr/bin/env python3
"""Law 1 through the programs: the bytes of `conclave logits` and the texts of the API do not depend on ranks,
threads, transport, chunking, placement, batch, prefix cache or preemption."""
import concurrent.futures
import json
import pathlib
import random
import tempfile
import unittest

import cluster


def placement(ranks, seed, layers=8, experts=32):
    rng = random.Random(seed)
    table = []
    for _ in range(layers):
        owners = [[e * ranks // experts] for e in range(experts)]
        rng.shuffle(owners)
        table.append(owners)
    return json.dumps({"version": 1, "model_fingerprint": "", "epoch": 0, "moe_layers": list(range(layers)),
                       "experts": experts, "ranks": ranks, "assignment": table})


class LogitsFile(unittest.TestCase):
    def test_bytes_do_not_depend_on_how_they_were_computed(self):
        rng = random.Random(20261122)
        ids = ",".join(str(rng.randrange(8192)) for _ in range(70))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for compute in ("f32", "bf16"):
                out = folder / "reference"
                cluster.run("logits", "--model", cluster.DEMO, "--ids", ids, "--compute", compute, "--out", out)
                expected = out.read_bytes()
                self.assertGreater(len(expected), 70 * 8192 * 4)
                for number in range(8):
                    ranks = rng.choice([1, 2, 4])
                    flags = ["--ranks", ranks, "--transport", rng.choice(["local", "mpi"]), "--threads", rng.choice([1, 2]),
                             "--max-step-tokens", rng.choice([1, 7, 64, 2048]), "--overlap", rng.choice(["on", "off"])]
                    if number % 2:
                        table = folder / "table.json"
                        table.write_text(placement(ranks, number))
                        flags += ["--placement", table]
                    other = folder / "other"
                    cluster.run("logits", "--model", cluster.DEMO, "--ids", ids, "--compute", compute, "--out", other, *flags)
                    self.assertEqual(other.read_bytes(), expected, f"{compute} {flags}")

    def test_the_two_compute_types_differ(self):
        with tempfile.TemporaryDirectory() as folder:
            outs = []
            for compute in ("f32", "bf16"):
                outs.append(pathlib.Path(folder) / compute)
                cluster.run("logits", "--model", cluster.DEMO, "--ids", "5,6,7", "--compute", compute, "--out", outs[-1])
            self.assertNotEqual(outs[0].read_bytes(), outs[1].read_bytes())


class ThroughTheApi(unittest.TestCase):
    PROMPTS = ["What does tar do?", "What is mount?", "Define courage.", "whatis ls"] + [f"Explain item {i}." for i in range(12)]

    def ask(self, server, prompt, seed):
        answer = server.post("/v1/chat/completions", {
            "model": "demo-moe", "messages": [{"role": "user", "content": prompt}], "max_tokens": 24, "seed": seed,
            "temperature": 0.8 if seed % 2 else 0, "logprobs": True, "top_logprobs": 3})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json()["choices"][0]

    def answers(self, server, together):
        work = [(p, i) for i, p in enumerate(self.PROMPTS)]
        if not together:
            return [self.ask(server, *item) for item in work]
        with concurrent.futures.ThreadPoolExecutor(len(work)) as pool:
            return list(pool.map(lambda item: self.ask(server, *item), work))

    def test_texts_and_logprobs_are_equal_alone_in_a_crowd_and_on_any_cluster(self):
        with cluster.Cluster("--no-prefix-cache", ranks=1, transport="local") as server:
            expected = self.answers(server, together=False)
        for flags, ranks, transport in [((), 2, "mpi"), (("--max-step-tokens", "7"), 2, "mpi"),
                                        (("--kv-blocks", "40", "--force-preempt-seed", "3"), 2, "local"), ((), 4, "mpi")]:
            with cluster.Cluster(*flags, ranks=ranks, transport=transport) as server:
                self.assertEqual(self.answers(server, together=True), expected, f"{flags} {ranks} {transport}")
                self.assertEqual(self.answers(server, together=True), expected, "prefix cache hit")


if __name__ == "__main__":
    unittest.main(verbosity=2)
