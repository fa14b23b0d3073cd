#!/usr/bin/env python3
"""Writes what Jinja2 renders into tests/chat_template/cases/*.json.

    make_expected.py                   regenerate "expected" / "fails" of every case
    make_expected.py --check RENDERER  change nothing; compare Jinja2, the stored text and RENDERER

A case file holds a list of {"name", "template" (a string or a list of lines), "renders"}; each render has
"variables" and either "expected" (text) or "fails" (words that the error has in both programs: those of
raise_exception, undefined values and the sandbox; else empty). Exit code 77: Jinja2 is not installed.
"""
import json
import pathlib
import subprocess
import sys

SKIPPED = 77
SAME_WORDS = ("TemplateError: ", "UndefinedError: ", "SecurityError: ")
CASES = pathlib.Path(__file__).parent / "cases"


def template_text(case):
    template = case["template"]
    return template if isinstance(template, str) else "\n".join(template)


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def shared_words(error):
    for prefix in SAME_WORDS:
        if error.startswith(prefix):
            return error[len(prefix):]
    return ""


def agree(theirs, ours, render):
    if "text" in theirs:
        return theirs["text"] == ours.get("text") == render.get("expected")
    words = shared_words(theirs["error"])
    return "error" in ours and render.get("fails") == words and words in ours["error"]


def regenerate(reference):
    env = reference.environment()
    for path in sorted(CASES.glob("*.json")):
        cases = load(path)
        for case in cases:
            for render in case["renders"]:
                result = reference.render(env, template_text(case), render["variables"])
                if "text" in result:
                    render.pop("fails", None)
                    render["expected"] = result["text"]
                else:
                    render.pop("expected", None)
                    render["fails"] = shared_words(result["error"])
                    print(f"{path.name}: {case['name']}: {result['error']}")
        path.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def check(reference, renderer):
    env = reference.environment()
    process = subprocess.Popen([renderer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               encoding="utf-8")
    wrong = 0
    checked = 0
    for path in sorted(CASES.glob("*.json")):
        for case in load(path):
            for number, render in enumerate(case["renders"]):
                request = {"template": template_text(case), "variables": render["variables"]}
                theirs = reference.render(env, request["template"], request["variables"])
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
                ours = json.loads(process.stdout.readline())
                checked += 1
                if agree(theirs, ours, render):
                    continue
                wrong += 1
                print(f"{path.name}: {case['name']} #{number}\n  Jinja2: {theirs}\n"
                      f"  ours:   {ours}\n  stored: {render.get('expected', render.get('fails'))!r}")
    process.stdin.close()
    process.wait()
    print(f"{checked} renders compared with Jinja2, {wrong} differ")
    return 1 if wrong or checked == 0 else 0


def main(arguments):
    try:
        import reference
    except ImportError as error:
        print(f"skipped: {error}")
        return SKIPPED
    if len(arguments) == 2 and arguments[0] == "--check":
        return check(reference, arguments[1])
    if arguments:
        print(__doc__)
        return 2
    return regenerate(reference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
