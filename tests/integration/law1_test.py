#!/usr/bin/env python3
"""Law 1 through the programs: the bytes of `conclave logits` and the texts of the API do not depend on ranks,
threads, transport, chunking, placement, batch, prefix cache, preemption or pipelining."""
import concurrent.futures
import json
import os
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

    def draw(self, rng, folder, compute):
        """One point of the product that law 1 speaks of."""
        ranks = rng.choice([1, 2, 4])
        flags = ["--compute", compute, "--threads", rng.choice([1, 2]), "--max-step-tokens", rng.choice([7, 64, 512])]
        if rng.random() < 0.5:
            seed = rng.randrange(1 << 30)
            table = folder / f"table-{seed}.json"
            table.write_text(placement(ranks, seed))
            flags += ["--placement", table]
        if rng.random() < 0.5:
            flags += ["--no-prefix-cache"]
        if rng.random() < 0.5:
            flags += ["--kv-blocks", 40, "--force-preempt-seed", rng.randrange(1, 100)]
        flags += ["--pipeline", rng.choice(["on", "on", "off"])]
        return [str(flag) for flag in flags], ranks, rng.choice(["mpi", "local"])

    def test_texts_and_logprobs_are_equal_alone_in_a_crowd_and_on_any_cluster(self):
        seed = int(os.environ.get("CONCLAVE_TEST_SEED", "20261122"))
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            for compute in ("bf16", "f32"):
                with cluster.Cluster("--no-prefix-cache", "--pipeline", "off", "--compute", compute, ranks=1,
                                     transport="local") as server:
                    expected = self.answers(server, together=False)
                draws = [self.draw(rng, pathlib.Path(folder), compute) for _ in range(3)]
                # Preemption over MPI, always.
                draws.append((["--compute", compute, "--kv-blocks", "40", "--force-preempt-seed", "3"], 2, "mpi"))
                for flags, ranks, transport in draws:
                    what = f"{' '.join(flags)} --ranks {ranks} --transport {transport}, CONCLAVE_TEST_SEED={seed}"
                    with cluster.Cluster(*flags, ranks=ranks, transport=transport) as server:
                        self.assertEqual(self.answers(server, together=True), expected, what)
                        self.assertEqual(self.answers(server, together=True), expected, f"asked again: {what}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
