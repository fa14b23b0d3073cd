#!/usr/bin/env python3
"""Reads every #include of the tree against the table of docs/architecture.md.

Usage: check_layering.py SOURCE_DIR
"""
import pathlib
import re
import sys

# folder -> what it may include besides itself, the standard library, Abseil and JSON
ALLOWED = {
    "base": set(),
    "model": {"base"},
    "kernels": {"base"},
    "comm/channel": {"base"},
    "comm": {"base", "kernels/device", "comm/channel"},
    "expert_placement/table": {"base"},
    "expert_placement": {"base", "model", "expert_placement/table"},
    "protocol": {"base", "model", "expert_placement/table"},
    "worker": {"base", "model", "kernels", "comm", "comm/channel", "protocol", "expert_placement/table"},
    "coordinator": {"base", "model", "protocol", "comm/channel", "expert_placement", "expert_placement/table"},
    "cli": {"base", "model", "kernels", "comm", "comm/channel", "expert_placement", "expert_placement/table",
            "protocol", "worker", "coordinator", "bench"},
    "bench": {"base", "model", "kernels", "comm", "comm/channel", "expert_placement", "expert_placement/table",
              "protocol", "worker", "coordinator"},
}
# vendor headers stay in one folder each
VENDOR = {
    r"^mpi\.h$": ("comm/mpi",),
    r"^nccl\.h$": ("comm/nccl",),
    r"^cuda": ("kernels/cuda", "kernels/device/cuda"),
    r"^coin/": ("expert_placement/ilp",),
    r"^boost/beast": ("coordinator/http", "coordinator/admin", "bench"),
    r"^boost/asio": ("coordinator/http", "coordinator/admin", "comm/channel", "bench"),
    r"^pcre2": ("coordinator/tokenizer", "coordinator/chat_template"),
    r"^utf8proc": ("coordinator/tokenizer", "coordinator/chat_template"),
    r"^CLI/": ("cli",),
}
FORBIDDEN_FOLDERS = {"utils", "util", "common", "misc", "helpers"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def component(path: str) -> str:
    """The longest key of ALLOWED that is a folder of path."""
    best = ""
    for key in ALLOWED:
        if path.startswith(key + "/") and len(key) > len(best):
            best = key
    return best


def may_include(owner: str, target: str, path: str) -> bool:
    if owner == target or any(path.startswith(a + "/") for a in ALLOWED[owner] if "/" in a):
        return True
    if target in ALLOWED[owner]:
        return True
    # a part of a component may use its whole component, except the targets that stand apart
    return target.split("/")[0] == owner.split("/")[0] and owner in ("comm", "expert_placement") and target in ALLOWED[owner]


def check_file(root: pathlib.Path, file: pathlib.Path) -> list[str]:
    name = file.relative_to(root).as_posix()
    owner = component(name)
    errors = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target_path = match.group(2)
        for pattern, folders in VENDOR.items():
            if re.search(pattern, target_path) and not any(name.startswith(f + "/") for f in folders):
                errors.append(f"{name}:{number}: <{target_path}> belongs to {', '.join(folders)} alone")
        if match.group(1) == '"':
            target = component(target_path)
            if target == "" and not target_path.startswith(("absl/", "tests/")):
                errors.append(f'{name}:{number}: "{target_path}" is not a path from the repository root')
            if target_path.startswith("tests/"):
                errors.append(f"{name}:{number}: product code includes a test header")
            if target and not may_include(owner, target, target_path):
                errors.append(f"{name}:{number}: {owner}/ may not include {target}/ ({target_path})")
    return errors


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    errors = []
    files = 0
    for top in sorted({key.split("/")[0] for key in ALLOWED}):
        for file in sorted((root / top).rglob("*")):
            if file.is_dir() and file.name in FORBIDDEN_FOLDERS:
                errors.append(f"{file.relative_to(root)}: a folder is named after what it holds, not {file.name}")
            if file.suffix in (".h", ".cc", ".cu", ".cuh"):
                files += 1
                errors += check_file(root, file)
    print(f"{files} files read, {len(errors)} violations")
    for error in errors:
        print("  " + error)
    return 1 if errors or files < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
