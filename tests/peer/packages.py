#!/usr/bin/env python3
"""packages.py pinned|newest FOLDER: a virtual environment with the peers' packages in FOLDER/pinned or FOLDER/newest.

pinned installs requirements.txt; newest installs the same names without their versions. Quick when it is there already.
Exits 77 (a visible skip) where no package registry answers.
"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SECONDS = 240


def wanted(kind):
    lines = [line.split("#")[0].strip() for line in (HERE / "requirements.txt").read_text().splitlines()]
    names = [line for line in lines if line]
    return names if kind == "pinned" else [re.split("[=<>~!]", name)[0] for name in names]


def main():
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2]) / sys.argv[1]
    python, stamp, names = folder / "bin/python", folder / "installed", wanted(sys.argv[1])
    # "newest" is asked for again each time; pip answers at once when nothing is newer.
    if kind == "pinned" and stamp.exists() and stamp.read_text() == "\n".join(names):
        return 0
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=SECONDS)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--retries", "1",
               "--timeout", "15", *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        print(f"peer: the registry did not answer within {SECONDS} s: skipped")
        return 77
    if done.returncode != 0:
        print("peer: the packages cannot be installed: skipped\n" + done.stderr[-2000:])
        return 77
    stamp.write_text("\n".join(names))
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"], capture_output=True, text=True)
    print("peer:", kind, *[line for line in listed.stdout.split() if line.split("==")[0].lower() in ("transformers", "tokenizers", "jinja2")])
    return 0


if __name__ == "__main__":
    sys.exit(main())
