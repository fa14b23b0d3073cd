#!/usr/bin/env python3
"""templates_test.py [--report] RENDERER: 5,000 drawn templates and conversations, rendered by transformers and by RENDERER.

Both must give the same text, or both an error. First every filter, test, global and method of the peer must be on RENDERER's
list of names, as known or as refused by name. --seed N and --count N draw others; --show N prints that many differences.
"""
import json
import logging
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
logging.disable(logging.CRITICAL)

import jinja2.defaults  # noqa: E402
import jinja2.filters  # noqa: E402
import jinja2.tests  # noqa: E402
import transformers.utils.chat_template_utils as peer  # noqa: E402

import template_grammar  # noqa: E402
import template_skeletons  # noqa: E402

PLAIN = 3800  # of 5,000: the rest are whole templates with conversations
# What prints an address or draws at random differs from run to run in the peer itself.
VOLATILE = re.compile(r" at 0x[0-9a-f]+|<built-in|<bound method|\|random|lipsum|'random'|\"random\"", re.IGNORECASE)

REFUSED = ("64-bit integer", "cannot be a dict key")


def public(kind):
    return [name for name in dir(kind) if not name.startswith("_")]


def peer_names():
    return {"filters": sorted(jinja2.filters.FILTERS), "tests": sorted(jinja2.tests.TESTS),
            "globals": sorted({*jinja2.defaults.DEFAULT_NAMESPACE, "raise_exception", "strftime_now"}),
            **{kind.__name__: public(kind) for kind in (str, list, dict, int, float, tuple, range)}}


def by_peer(case):
    try:
        if "chat" in case:
            messages, rest = template_skeletons.as_peers_see(case["chat"])
            return {"text": peer.render_jinja_template([peer._normalize_chat_messages(messages)], chat_template=case["template"], **rest)[0][0]}
        return {"text": peer._compile_jinja_template(case["template"]).render(**case["variables"])}
    except RecursionError:
        raise
    except Exception as error:  # a template can raise anything
        return {"error": f"{type(error).__name__}: {error}"}


def draw(seed, count, names):
    cases = []
    skeletons = list(template_skeletons.ALL.items())
    for number in range(count):
        if number % 5000 < PLAIN:
            cases.append({"template": template_grammar.Grammar(f"{seed}/{number}", names).template(), "variables": template_grammar.VARIABLES})
        else:
            cases.append({"template": skeletons[number % len(skeletons)][1], "chat": template_skeletons.conversation(f"{seed}/{number}")})
    return cases


def by_us(renderer, cases):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([renderer], input=lines, capture_output=True, text=True, encoding="utf-8", timeout=200)
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    if done.returncode != 0 or len(answers) != len(cases):
        sys.exit(f"{renderer} ended with {done.returncode} after {len(answers)} of {len(cases)} answers: {done.stderr[-2000:]}")
    return answers


def check_names(ours):
    wrong = 0
    for kind, names in peer_names().items():
        missing = sorted(set(names) - set(ours[kind]["known"]) - set(ours[kind]["refused"]))
        invented = sorted((set(ours[kind]["known"]) | set(ours[kind]["refused"])) - set(names))
        wrong += len(missing) + len(invented)
        if missing or invented:
            print(f"{kind}: neither known nor refused: {missing}; not the peer's: {invented}")
    return wrong


def option(arguments, name, otherwise):
    return int(arguments[arguments.index(name) + 1]) if name in arguments else otherwise


def main():
    arguments = sys.argv[1:]
    renderer = [a for i, a in enumerate(arguments) if not a.startswith("--") and not (i and arguments[i - 1] in ("--seed", "--count", "--show"))][0]
    ours = by_us(renderer, [{"names": True}])[0]
    wrong = check_names(ours)
    names = {kind: [name for name in names if name not in ours[kind]["refused"]] for kind, names in peer_names().items()}
    cases = draw(option(arguments, "--seed", 1), option(arguments, "--count", 5000), names)
    answers, shown, texts, errors, skipped, refused = by_us(renderer, cases), 0, 0, 0, 0, 0
    for number, (case, ours) in enumerate(zip(cases, answers)):
        theirs = by_peer(case)
        # What the documentation lists as refused here.
        if "text" in theirs and any(words in ours.get("error", "") for words in REFUSED):
            refused += 1
            continue
        if VOLATILE.search(theirs.get("text", "") + theirs.get("error", "") + case["template"]):
            skipped += 1
            continue
        texts += "text" in theirs
        errors += "error" in theirs
        if theirs.get("text") == ours.get("text"):
            continue
        wrong += 1
        if shown < option(arguments, "--show", 20):
            shown += 1
            print(f"#{number}: {case['template']!r}\n  {json.dumps(case.get('chat'))}\n  peer: {theirs}\n  ours: {ours}")
    print(f"{len(cases)} drawn, {texts} texts and {errors} errors compared, {refused} refused as documented, {skipped} left out, {wrong} differ")
    enough = texts > len(cases) // 2
    return 0 if "--report" in arguments else 1 if wrong or not enough else 0


if __name__ == "__main__":
    sys.exit(main())
