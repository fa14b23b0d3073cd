#!/usr/bin/env python3
"""The live page in a headless Chromium: key, prompt that streams, heat map, cancel, keyboard, light and dark, no console error."""
import json
import os
import pathlib
import sys
import tempfile
import threading

import webdriver
from cluster import ROOT, Cluster, wait_for
from webdriver import Browser

PICTURES = pathlib.Path(os.environ.get("CONCLAVE_BINARY_DIR", ROOT / "build/release")) / "ui-screenshots"
LONG = {"model": "demo-moe", "prompt": [5, 6, 7], "max_tokens": 1900, "ignore_eos": True, "temperature": 0}
SLOW = {"CONCLAVE_FAULT": "slow:rank=1,ms=40"}  # so that an answer takes a while
# The ratio of WCAG 2: relative luminances of an element's text and of the nearest painted background.
CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (c) => { const [r, g, b] = rgb(c).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const element = document.querySelector(arguments[0]);
let back = element;
while (back && (rgb(getComputedStyle(back).backgroundColor)[3] === 0)) back = back.parentElement;
const a = light(getComputedStyle(element).color), b = light(getComputedStyle(back || document.body).backgroundColor);
return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
"""


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def test_key(page, cluster):
    page.open(cluster.admin_url + "/ui")
    wait_for("the question for the key", lambda: page.visible("#key-form"))
    check(not page.visible("#main"), "data without a key")
    page.type("#key", "wrong" + webdriver.ENTER)
    page.wait_text("#key-error", lambda t: "not valid" in t, "the refusal")
    page.type("#key", "page-key" + webdriver.ENTER)
    wait_for("the page", lambda: page.visible("#main"))
    page.wait_text("#health", lambda t: t == "OK", "health")
    noise = [m for m in page.console() if "401" not in m]
    check(not noise, noise)
    page.screenshot(PICTURES / "idle.png")


def test_prompt(page):
    wait_for("the heat map", lambda: page.run("return document.querySelector('#heat').dataset.total"))
    before = page.run("const c = document.querySelector('#heat'); return [c.dataset.total, c.toDataURL()]")
    page.run("""window.lengths = new Set();
        new MutationObserver(() => window.lengths.add(document.querySelector('#answer').textContent.length))
            .observe(document.querySelector('#answer'), {childList: true, characterData: true, subtree: true});
        window.states = [];
        new MutationObserver(() => window.states.push(document.querySelector('#prompt-state').textContent))
            .observe(document.querySelector('#prompt-state'), {childList: true, characterData: true, subtree: true});""")
    page.type("#prompt", "Tell me about the sea.")
    page.run("document.querySelector('#max-tokens').value = 80")
    page.click("#send")
    # A busy machine may look too late to see a state, so the page keeps them.
    wait_for("the end of the answer", lambda: page.run("return window.states") == ["answering", "done"], 90)
    check(page.text("#answer").strip() != "", "an empty answer")
    lengths = page.run("return window.lengths.size")
    check(lengths >= 3, f"the answer came in {lengths} pieces: not a stream")
    wait_for("another heat map", lambda: page.run("const c = document.querySelector('#heat'); return [c.dataset.total, c.toDataURL()]") != before
             and float(page.run("return document.querySelector('#heat').dataset.total")) > 0)
    wait_for("experts in the heat map", lambda: int(page.run("return document.querySelector('#heat').dataset.columns")) > 2)
    check(page.run("return document.querySelector('#spark-tps polyline').getAttribute('points').split(' ').length") == 60, "sparkline")
    check(page.run("return document.querySelectorAll('#ranks li').length") == 2, "two ranks")
    page.type("#prompt", " And again?" + webdriver.CONTROL + webdriver.ENTER)
    wait_for("the end of a second answer, sent by Ctrl+Enter", lambda: page.run("return window.states") == ["answering", "done"] * 2, 90)


def test_cancel(page, cluster):
    ends = []

    def one():
        ends.append([json.loads(d) for d in cluster.stream("/v1/completions", LONG) if d != "[DONE]"][-1])

    wait_for("the table to empty", lambda: page.run("return document.querySelectorAll('#requests tr').length") == 0)
    thread = threading.Thread(target=one, daemon=True)
    thread.start()
    wait_for("the request in the table", lambda: page.run("return document.querySelectorAll('#requests tr').length") == 1)
    wait_for("its tokens", lambda: int(page.run("return document.querySelector('#requests td:nth-child(6)').textContent")) > 0)
    wait_for("a rate", lambda: float(page.text("#tps")) > 0)
    page.screenshot(PICTURES / "busy.png")
    page.click("#requests button.cancel")
    wait_for("the request to go", lambda: page.run("return document.querySelectorAll('#requests tr').length") == 0)
    thread.join(30)
    check(ends and ends[0].get("error", {}).get("code") == "cancelled", ends)
    check(page.text("#notice") == "", page.text("#notice"))


def test_keyboard(page):
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(20):
        page.press(webdriver.TAB)
        reached.append(page.run("return document.activeElement.id || document.activeElement.className"))
        if reached[-1] == "heat":
            break
    check("skip" in reached and reached[-1] == "heat", reached)
    page.press(webdriver.RIGHT, webdriver.DOWN)
    check("1: " in page.text("#heat-cell") and page.text("#heat-cell").startswith("Layer "), page.text("#heat-cell"))
    page.press(webdriver.TAB)
    check(page.run("return document.activeElement.id") == "prompt", "Tab leaves the map")
    unnamed = page.run("""return [...document.querySelectorAll('button, input, textarea, canvas, select')].filter((e) => !(e.textContent.trim()
        || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || (e.labels && e.labels.length))).map((e) => e.id)""")
    check(not unnamed, f"no name for a screen reader: {unnamed}")


def test_colours(page):
    for scheme in ("light", "dark"):
        page.colour_scheme(scheme)
        for css in ("#model", ".quiet", "#health", "h2", "#send", "#prompt"):
            ratio = page.run(CONTRAST, css)
            check(ratio >= 4.5, f"{css} in {scheme}: contrast {ratio:.2f}")
        page.run("window.scrollTo(0, 0)")
        page.screenshot(PICTURES / f"{scheme}.png")
    wide = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(wide <= 0, f"the page is {wide} pixels too wide")


def main():
    if absent := webdriver.missing():
        print(f"SKIPPED: {absent} is not installed (scripts/install_packages.sh browser)")
        return 77
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        key = pathlib.Path(folder) / "key"
        key.write_text("page-key\n")
        with Cluster("--admin-key-file", str(key), transport="local", env=SLOW) as cluster, Browser() as page:
            test_key(page, cluster)
            test_prompt(page)
            test_cancel(page, cluster)
            test_keyboard(page)
            test_colours(page)
            errors = page.console()
            check(not errors, errors)
            foreign = page.run("return performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith(location.origin))")
            check(not foreign, f"fetched from elsewhere: {foreign}")
            cluster.process.kill()
            page.wait_text("#health", lambda t: t == "gone", "the page to say that the coordinator is gone")
            page.screenshot(PICTURES / "gone.png")
    print(f"pictures in {PICTURES}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
