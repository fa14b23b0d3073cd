#!/usr/bin/env python3
"""run.py FOLDER SCRIPT ARGUMENT...: runs a comparison with the pinned packages, then with the newest.

SCRIPT gets --report for the newest: it prints differences and exits 0. Differences with the pinned packages fail.
Exits 77 where packages.py could not install the pinned ones.
"""
import pathlib
import subprocess
import sys


def versions(python):
    program = "import importlib.metadata as m; print(*[f'{n} {m.version(n)}' for n in ('transformers','tokenizers','jinja2')], sep=', ')"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def main():
    folder, script, arguments = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    seen = {kind: versions(python) if (python := folder / kind / "bin/python").exists() else None for kind in ("pinned", "newest")}
    if seen["pinned"] is None:
        print("peer: the pinned packages are not installed: skipped")
        return 77
    print("peer: pinned:", seen["pinned"], flush=True)
    code = subprocess.run([folder / "pinned/bin/python", script, *arguments]).returncode
    if seen["newest"] in (None, seen["pinned"]):
        print("peer: newest:", "not installed" if seen["newest"] is None else "the same versions")
        return code
    print("peer: newest (reported, never a failure):", seen["newest"], flush=True)
    subprocess.run([folder / "newest/bin/python", script, "--report", *arguments])
    return code


if __name__ == "__main__":
    sys.exit(main())
