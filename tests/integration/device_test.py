#!/usr/bin/env python3
"""--device as a user meets it on a machine without a GPU: auto runs on the CPU, cuda ends with one sentence."""
import glob
import sys
import unittest

import cluster


def has_gpu():
    return bool(glob.glob("/dev/nvidia[0-9]*"))


class Device(unittest.TestCase):
    def generate(self, *arguments, **environment):
        return cluster.run("generate", "--model", cluster.DEMO, "--prompt", "Once", "--max-tokens", "2", *arguments,
                           check=False, env=environment, timeout=100)

    def assert_refused(self, done, *words):
        self.assertEqual(done.returncode, 3, done.stderr)
        last = done.stderr.strip().splitlines()[-1]
        self.assertTrue(last.startswith("conclave: "), done.stderr)
        for word in words:
            self.assertIn(word, last)

    @unittest.skipIf(has_gpu(), "this machine has a GPU")
    def test_cuda_without_a_gpu_is_one_sentence(self):
        self.assert_refused(self.generate("--device", "cuda"), "--device cpu")

    @unittest.skipIf(has_gpu(), "this machine has a GPU")
    def test_a_worker_process_without_a_gpu_ends_the_start(self):
        self.assert_refused(self.generate("--device", "cuda", "--transport", "mpi"), "--device cpu")

    def test_a_build_without_the_plugin_says_so(self):
        self.assert_refused(self.generate("--device", "cuda", CONCLAVE_CUDA_PLUGIN="/nowhere/conclave_cuda.so"),
                            "no CUDA back end", "/nowhere/conclave_cuda.so")

    def test_auto_needs_no_plugin(self):
        expected = self.generate("--device", "cpu")
        done = self.generate(CONCLAVE_CUDA_PLUGIN="/nowhere/conclave_cuda.so")
        self.assertEqual((done.returncode, done.stdout), (0, expected.stdout), done.stderr)

    def test_an_unknown_device_is_a_usage_error(self):
        done = self.generate("--device", "tpu")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("auto, cpu, cuda", done.stderr)


if __name__ == "__main__":
    sys.exit(unittest.main())
