"""conclavectl for tests: runs it, holds its JSON to docs/admin_api.schema.json, and remembers which verbs worked in which form."""
import json
import os
import subprocess

import json_schema
from cluster import BINARY, PATIENCE, ROOT

CTL = BINARY.parent / "conclavectl"
SCHEMAS = json.loads((ROOT / "docs/admin_api.schema.json").read_text())["$defs"]


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def fits(document, schema):
    wrong = json_schema.errors(document, SCHEMAS[schema], SCHEMAS)
    check(not wrong, f"{schema}: {wrong[:5]}")
    return document


class Ctl:
    """conclavectl for one cluster."""

    def __init__(self, endpoint, key_file=None, env=None):
        self.flags = ["--endpoint", endpoint] + (["--key-file", str(key_file)] if key_file else [])
        self.env = {**os.environ, "CONCLAVECTL_CONFIG": "/nonexistent", **(env or {})}
        self.worked = set()  # (words of a command, "table" or "json")

    def start(self, *words):
        return subprocess.run([str(CTL), *self.flags, *map(str, words)], capture_output=True, text=True, timeout=60 * PATIENCE,
                              env=self.env, check=False)

    def run(self, *words, code=0):
        done = self.start(*words)
        check(done.returncode == code, f"conclavectl {' '.join(map(str, words))}: exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
        check("\x1b" not in done.stdout + done.stderr, f"{words}: escape sequences without a terminal")
        if code in (0, 8) and done.stdout:
            self.worked.add((tuple(map(str, words)), "json" if "json" in words else "table"))
        return done

    def json(self, *words, schema, code=0):
        return fits(json.loads(self.run(*words, "-o", "json", code=code).stdout), schema)

    def table(self, *words, sees, code=0):
        """What a person reads; each text of sees is in it."""
        text = self.run(*words, code=code).stdout
        check(all(part in text for part in sees) and not text.startswith("{"), f"{words}: no {sees} in\n{text}")
        return text

    def verbs(self, folder):
        """Words of every verb that does something: those with a manual page and no verbs below them."""
        pages = self.json("man", "--folder", folder, schema="man")["pages"]
        return {name.removesuffix(".1").removeprefix("conclavectl-") for name, text in pages.items() if ".SH VERBS" not in text}

    def check_all_worked(self, folder):
        """Every verb was run against the cluster with success in both forms; a new verb without a test ends here."""
        verbs = self.verbs(folder)
        check(len(verbs) > 25 and "placement-plan" in verbs, sorted(verbs))
        worked = {(verb, form) for words, form in self.worked for verb in verbs for n in (1, 2) if "-".join(words[:n]) == verb}
        missing = sorted({(verb, form) for verb in verbs for form in ("table", "json")} - worked)
        check(not missing, f"never seen to work: {missing}")
