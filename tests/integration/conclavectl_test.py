#!/usr/bin/env python3
"""Every verb of conclavectl against a live cluster: as a table, as JSON by its schema, exit codes; and nothing without the key."""
import contextlib
import http.server
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib

from cluster import PATIENCE, Cluster, wait_for
from ctl import CTL, SCHEMAS, Ctl, check, fits

# A LONG request takes some 30 s: rank 1 is made to wait in every step.
SLOW = {"CONCLAVE_FAULT": "slow:rank=1,ms=15"}
LONG = {"model": "demo-moe", "prompt": [5, 6, 7], "max_tokens": 1900, "ignore_eos": True, "temperature": 0}


@contextlib.contextmanager
def open_requests(cluster, count, tokens=LONG["max_tokens"]):
    """Streams that run until they are cancelled or at their end; yields what became of each."""
    ends = [None] * count

    def one(index):
        last = ""
        for data in cluster.stream("/v1/completions", {**LONG, "seed": index, "max_tokens": tokens}):
            last = data if data != "[DONE]" else last
        ends[index] = json.loads(last)

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    # From the first token on an end is an event of the stream; before, it is the status of the answer.
    wait_for("requests that stream", lambda: count_streaming(cluster) >= count)
    yield ends
    for thread in threads:
        thread.join(60 * PATIENCE)


def count_streaming(cluster):
    document = cluster.request("GET", "/admin/v1/requests", url=cluster.admin_url, headers=cluster.key).json()
    return sum(request["generated_tokens"] > 0 for request in document["requests"])


def test_looking(ctl, cluster):
    with open_requests(cluster, 2) as ends:
        status = ctl.json("status", schema="status")
        check(status["requests"]["open"] == 2 and status["model"] == "demo-moe", status)
        ctl.table("status", sees=["health     ", "2 of 2 ranks up"])
        requests = ctl.json("get", "requests", schema="requests")["requests"]
        check(len(requests) == 2 and requests[0]["prompt_tokens"] == 3, requests)
        listed = ctl.run("get", "requests", "-o", "wide").stdout
        check(requests[0]["request_id"] in listed and "REPLAYS" in listed, listed)
        one = ctl.json("get", "requests", requests[1]["request_id"], schema="requests")["requests"]
        check([r["id"] for r in one] == [requests[1]["id"]], one)
        ctl.table("describe", "requests", requests[0]["id"], sees=[f"request_id: {requests[0]['request_id']}"])
        check(ctl.json("describe", "requests", requests[0]["id"], schema="requests")["requests"][0]["id"] == requests[0]["id"], "describe as JSON")
        test_top(ctl, {request["request_id"] for request in requests})
        wait_for("expert rows", lambda: any(layer["rank_rows"] for layer in ctl.json("get", "experts", schema="experts")["layers"]))
        gone = ctl.json("cancel", requests[0]["request_id"], schema="cancelled")
        check(gone["cancelled"] == [requests[0]["id"]], gone)
        check(ctl.run("cancel", requests[1]["id"]).stdout.strip() == str(requests[1]["id"]), "cancel by number")
        ctl.run("cancel", "no-such-request", code=6)
    check(all(end and end.get("error", {}).get("code") == "cancelled" for end in ends), ends)

    test_health(ctl)
    ranks = ctl.json("get", "ranks", schema="ranks")["ranks"]
    check([r["rank"] for r in ranks] == [0, 1] and all(r["up"] and r["weight_bytes"] > 0 and r["totals"]["expert_rows"] > 0 for r in ranks), ranks)
    check(ranks[1]["totals"]["slowest_steps"] > ranks[0]["totals"]["slowest_steps"] and ranks[0]["totals"]["wait_seconds"] > 0, ranks)
    ctl.table("get", "ranks", sees=["SLOWEST"])
    ctl.table("get", "ranks", "-o", "wide", sees=["EXPOSED"])
    ctl.table("describe", "ranks", "1", sees=["heartbeat_age_seconds: "])
    ctl.run("get", "ranks", "7", code=6)
    model = ctl.json("get", "model", schema="model")
    check(model["experts"] > model["top_k"] > 0, model)
    ctl.table("get", "model", sees=["experts: "])
    ctl.table("describe", "model", sees=["active_parameters: "])
    config = ctl.json("get", "config", schema="config")["settings"]
    check(config["ranks"] == "2" and config["prefix-cache"] == "true", config)
    ctl.table("get", "config", "ranks", sees=["ranks: 2"])
    ctl.run("get", "config", "colour", code=6)
    ctl.table("get", "experts", sees=["MAX/MEAN"])
    check(len(ctl.json("describe", "experts", "0", schema="experts")["layers"]) == 1, "one layer")
    ctl.table("describe", "experts", "0", sees=["moe_layer: 0"])
    versions = ctl.json("version", schema="versions")
    check(versions["client"] == versions["server"]["software"], versions)
    ctl.table("version", sees=["conclavectl ", "cluster "])
    check("cluster" not in ctl.table("version", "--client", sees=["conclavectl "]), "version --client")


def test_top(ctl, request_ids):
    """Pictures one after the other, a JSON document a line, and an end where nobody reads on."""
    seen = ctl.table("top", "--count", "2", "--interval", "0.2", sees=["health  ", "SLOWEST", "REQUEST", *request_ids])
    check(seen.count("health  ") == 2, seen)
    lines = ctl.run("top", "--count", "3", "--interval", "0.1", "-o", "json").stdout.splitlines()
    documents = [fits(json.loads(line), "top") for line in lines]
    check(len(documents) == 3, lines)
    check({r["request_id"] for d in documents for r in (d["requests"] or {"requests": []})["requests"]} <= request_ids, documents)
    uptimes = [d["status"]["uptime_seconds"] for d in documents]
    check(uptimes[0] < uptimes[1] < uptimes[2], uptimes)
    check(ctl.run("top", "--count", "2", "--interval", "0.1", "-o", "yaml").stdout.count("---\nversion: 1\nkind: top\n") == 2, "YAML documents")
    for form in ("table", "json"):
        endless = subprocess.Popen([str(CTL), *ctl.flags, "top", "--interval", "0.1", "-o", form], stdout=subprocess.PIPE, env=ctl.env)
        check(endless.stdout.readline(), "a first line")
        endless.stdout.close()
        check(endless.wait(60 * PATIENCE) == 0, f"top -o {form} | head")


def test_health(ctl):
    # A busy machine may make a rank look silent for a moment.
    wait_for("good health", lambda: ctl.start("health").returncode == 0)
    wait_for("good health as JSON", lambda: json.loads(ctl.start("health", "-o", "json").stdout) == {"version": 1, "kind": "health", "health": "OK", "checks": []})


def test_rate_after_a_burst(ctl, cluster):
    """What was generated a moment ago is in the rate of the last ten seconds."""
    def shows():
        check(cluster.post("/v1/completions", {**LONG, "max_tokens": 20}).status == 200, "completion")
        return ctl.json("status", schema="status")["recent"]["generated_tokens_per_second"] > 0
    wait_for("a rate right after a burst", shows)


def test_ready_is_no_client(cluster):
    """The cluster has answered /ready, and nothing else yet: a token was generated and no client's metric knows of it."""
    text = cluster.request("GET", "/metrics", url=cluster.admin_url, headers=cluster.key).body.decode()
    values = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}
    check(values["conclave_step_duration_seconds_count"] > 0, "no canary")
    clients = {name: value for name, value in values.items() if value != 0 and (name.startswith(("conclave_request", "vllm:request", "vllm:num_requests")) or
               "token" in name) and "rank" not in name}
    check(not clients, clients)


def test_experts(ctl, folder):
    experts = ctl.json("expert-load", schema="experts")
    check(sum(sum(layer["rank_rows"]) for layer in experts["layers"]) > 0, experts)
    check(experts["per_expert"] and all(len(layer["expert_rows"]) == len(layer["holders"]) == experts["experts"] for layer in experts["layers"]), experts)
    check({h for layer in experts["layers"] for holders in layer["holders"] for h in holders} == {0, 1}, "holders")
    ctl.table("expert-load", sees=["BUSIEST-EXPERTS"])
    svg, png = folder / "load.svg", folder / "load.png"
    ctl.run("expert-load", "--plot", svg)
    check(svg.read_text().startswith("<svg") and svg.read_text().count("<rect") > len(experts["layers"]), "svg")
    ctl.run("expert-load", "--plot", png)
    check_png(png.read_bytes())
    ctl.run("expert-load", "--plot", folder / "load.gif", code=3)


def check_png(data):
    check(data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG signature")
    at, chunks = 8, {}
    while at < len(data):
        length, name = int.from_bytes(data[at:at + 4], "big"), data[at + 4:at + 8]
        body = data[at + 8:at + 8 + length]
        check(zlib.crc32(name + body) == int.from_bytes(data[at + 8 + length:at + 12 + length], "big"), f"checksum of {name}")
        chunks[name], at = body, at + 12 + length
    width, height = int.from_bytes(chunks[b"IHDR"][:4], "big"), int.from_bytes(chunks[b"IHDR"][4:8], "big")
    pixels = zlib.decompress(chunks[b"IDAT"])
    check(len(pixels) == height * (1 + 3 * width), "wrong number of pixels")
    check(len({pixels[i:i + 3] for i in range(1, 1 + 3 * width, 3)} | {pixels[i:i + 3] for i in range(60 * (1 + 3 * width) + 1, 61 * (1 + 3 * width), 3)}) > 1,
          "the picture is empty")


def test_admission(ctl, cluster):
    ctl.run("cordon", code=2)
    admission = ctl.json("cordon", "--reason", "new disks", schema="admission")
    check(not admission["open"] and admission["reason"] == "new disks", admission)
    refused = cluster.post("/v1/completions", {**LONG, "max_tokens": 1})
    check(refused.status == 503 and "new disks" in refused.json()["error"]["message"] and refused.headers.get("Retry-After"), refused.body)
    check(cluster.get("/ready").status == 503, "ready while cordoned")
    health = ctl.json("health", schema="health", code=8)
    check("CORDONED" in [c["code"] for c in health["checks"]], health)
    ctl.table("health", "detail", sees=["do: `conclavectl undrain`"], code=8)
    check("do:" not in ctl.table("health", sees=["CORDONED"], code=8), "advice without detail")
    ctl.table("cordon", "--reason", "newer disks", sees=["closed (newer disks)"])
    ctl.run("wait", "--for=ready", "--timeout", "0.3s", code=8)
    check(ctl.json("undrain", schema="admission")["open"], "undrain")
    check(ctl.run("wait", "--for=ready", "--timeout", "60s").stdout == "ready\n", "wait")
    check(ctl.json("wait", "--for=ready", "--timeout", "60s", schema="status")["group"]["state"] == "ready", "wait as JSON")
    ctl.table("uncordon", sees=["open"])
    check(ctl.json("uncordon", schema="admission")["open"], "uncordon")

    with open_requests(cluster, 1) as ends:
        late = ctl.run("drain", "--reason", "upgrade", "--deadline", "0.5s", code=8)
        check("draining: 1 requests open" in late.stderr and "still open" in late.stderr, late.stderr)
        ctl.run("wait", "--for", "drained", "--timeout", "0.3s", code=8)
        drained = ctl.json("drain", "--reason", "upgrade", "--deadline", "0.1s", "--cancel-open", schema="admission")
        check(drained["drained"] and drained["requests_open"] == 0, drained)
        check(drained["while_draining"] == {"finished": 0, "cancelled": 1, "failed": 0, "failed_requests": []}, drained)
    check(ends[0]["error"]["code"] == "cancelled", ends)
    ctl.run("undrain")
    with open_requests(cluster, 1, tokens=60):
        ctl.table("drain", "--reason", "upgrade", sees=["closed (upgrade): 0 requests open", "while draining 1 requests finished, 0 failed"])
    check(ctl.json("wait", "--for", "drained", schema="admission")["drained"], "wait drained")
    check(not ctl.json("drain", "--reason", "again", "--no-wait", schema="admission")["open"], "no-wait")
    ctl.table("drain", "--reason", "again", sees=["closed (again): 0 requests open"])
    ctl.table("undrain", sees=["open"])
    check(cluster.post("/v1/completions", {**LONG, "max_tokens": 2}).status == 200, "open again")


def records(cluster):
    """The JSON records of the log, ranks' ones included."""
    return [json.loads(line) for line in cluster.log().splitlines() if line.startswith("{") and line.endswith("}")]


def test_trace_and_logs(ctl, cluster, folder):
    ctl.run("trace", "start", "--steps", "0", code=2)
    check(ctl.json("trace", "start", "--steps", "4", schema="trace")["running"], "trace")
    check(cluster.post("/v1/completions", {**LONG, "max_tokens": 12}).status == 200, "completion")
    wait_for("a traced step", lambda: not ctl.json("trace", "status", schema="trace")["running"])
    ctl.table("trace", "status", sees=["steps_wanted: 4"])
    path = folder / "trace.json"
    check("events" in ctl.run("trace", "stop", "--write", path).stderr, "what is said beside the file's name")
    trace = fits(json.loads(path.read_text()), "chrome_trace")
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    check({e["pid"] for e in spans} == {0, 1, 2}, "coordinator and two ranks")
    check({"attention", "experts", "exchange", "gemm", "step"} <= {e["cat"] for e in spans}, {e["cat"] for e in spans})
    steps = {e["args"]["step"]: e for e in spans if e["cat"] == "step"}
    check(len(steps) == 4, steps.keys())
    for event in spans:
        step = steps[event["args"]["step"]]
        check(event["dur"] >= 0 and step["ts"] - 1 <= event["ts"] and event["ts"] + event["dur"] <= step["ts"] + step["dur"] + 1, (event, step))
    fits(json.loads(ctl.run("trace", "stop").stdout), "chrome_trace")
    written = ctl.json("trace", "stop", "--write", path, schema="file")
    check(written["file"] == str(path) and written["bytes"] == path.stat().st_size, written)
    ctl.table("trace", "start", "--steps", "2", sees=["steps_wanted: 2"])
    ctl.run("trace", "stop")

    check(ctl.json("log-level", "debug", schema="log_level") == {"version": 1, "kind": "log_level", "before": "info", "level": "debug"}, "level")
    cluster.post("/v1/completions", {**LONG, "max_tokens": 2}, headers={"x-request-id": "find-me"})
    wait_for("the request in the log", lambda: any(r.get("request_id") == "find-me" for r in records(cluster)))
    wait_for("the ranks' records", lambda: {0, 1} <= {record["rank"] for record in records(cluster) if record["level"] == "debug" and "step" in record})
    ctl.table("log-level", "info", sees=["level: info"])
    ctl.run("log-level", "loud", code=2)
    check(any("log level changed" in line for line in ctl.json("logs", schema="logs")["lines"]), "logs")
    logged = ctl.json("logs", schema="logs")["ranks"]
    check({0, 1} <= {log["rank"] for log in logged} and all(len(log["lines"]) <= 128 for log in logged), [log["rank"] for log in logged])
    ctl.table("logs", "--ranks", sees=["rank 0: {", "rank 1: {"])
    lines = ctl.run("logs").stdout.splitlines()  # as they were logged: in this cluster as JSON
    check(any(r["message"] == "admin act" and r["by"] == "key operator" and "log-level" in r["act"] for r in records(cluster)), "who changed the level")
    check(any(json.loads(line)["message"] == "log level changed" for line in lines), lines)


def test_helpers(ctl, cluster, folder):
    doctor = ctl.json("doctor", schema="doctor")
    check({"cpu", "memory", "open-files", "admin-listener", "version"} <= {f["check"] for f in doctor["findings"]}, doctor)
    check(all(f["advice"] for f in doctor["findings"] if f["verdict"] in ("WARN", "ERROR")), doctor)
    check("admin-listener" not in ctl.table("doctor", "--host-only", sees=["cpu: "]), "doctor --host-only")
    ctl.table("doctor", sees=["cpu: ", "admin-listener: ", "version: "])
    bundle = folder / "bundle.tar.gz"
    check(ctl.table("bundle", folder / "other.tar.gz", sees=["other.tar.gz"]).strip() == str(folder / "other.tar.gz"), "bundle")
    check(ctl.json("bundle", bundle, schema="bundle")["bytes"] > 1000, "bundle")
    with tarfile.open(bundle) as tar:
        files = {pathlib.PurePath(m.name).name: tar.extractfile(m).read().decode() for m in tar.getmembers() if m.isfile()}
    check({"status.json", "ranks.json", "config.json", "metrics.txt", "logs.json", "doctor.json", "README.txt"} <= set(files), sorted(files))
    check(json.loads(files["config.json"])["settings"]["admin-key-file"] == "(set)", files["config.json"])
    check({0, 1} <= {log["rank"] for log in json.loads(files["logs.json"])["ranks"]}, "the ranks' lines are in the bundle")
    for name, text in files.items():
        check("top-secret-key" not in text and str(cluster.folder / "key") not in text, f"a secret in {name}")
    metrics = ctl.json("metrics", schema="metrics")["metrics"]
    scraped = cluster.request("GET", "/metrics", url=cluster.admin_url, headers=cluster.key).body.decode()
    # Metrics by key are there where the API has keys; this cluster's has none.
    missing = [m["name"] for m in metrics if m["labels"].split(",")[0] != "key" and f"# TYPE {m['name']} {m['type']}\n" not in scraped]
    check(not missing, f"in the catalogue, not in /metrics: {missing}")
    check(all(f"# TYPE {m['vllm']} " in scraped for m in metrics if m["vllm"]), "vLLM's names")
    ctl.table("metrics", sees=["conclave_requests_total"])
    ctl.table("metrics", "--markdown", sees=["| `conclave_requests_total` |"])
    check_yaml(ctl)
    for shell in ("bash", "zsh", "fish"):  # completion_test.py has them at work
        check(ctl.json("completion", shell, schema="completion")["script"] == ctl.table("completion", shell, sees=["conclavectl"]), shell)
    ctl.run("completion", "csh", code=2)
    check_man(ctl, folder / "man")


def check_man(ctl, folder):
    listed = ctl.table("man", "--folder", folder, sees=["conclavectl-placement-plan.1"]).split()
    pages = {p.name: p.read_text() for p in folder.iterdir()}
    check(sorted(listed) == sorted(str(folder / name) for name in pages), listed)
    check("\\-\\-cancel\\-open" in pages["conclavectl-drain.1"], pages["conclavectl-drain.1"])
    check(all(".SH EXIT STATUS" in page for page in pages.values()), "exit codes")
    check(ctl.json("man", schema="man")["pages"] == {"conclavectl.1": pages["conclavectl.1"]}, "the page of the program")
    ctl.table("man", sees=[".TH"])
    ctl.run("man", "--folder", "/proc/nowhere", code=3)


def check_yaml(ctl):
    text = ctl.run("status", "-o", "yaml").stdout
    check("kind: status\n" in text and "  state: ready\n" in text, text)
    with contextlib.suppress(ImportError):
        import yaml  # pylint: disable=import-outside-toplevel
        for words in (["get", "ranks"], ["metrics"], ["doctor", "--host-only"], ["get", "config"]):
            data = json.loads(ctl.run(*words, "-o", "json").stdout)
            check(set(yaml.safe_load(ctl.run(*words, "-o", "yaml").stdout)) == set(data), f"{words} as YAML")


def settled(ctl):
    """The placement once nothing is pending."""
    def look():
        view = ctl.json("placement", "show", schema="placement")
        return view if view["pending"] is None else None
    return wait_for("the end of a re-placement", look)


def swapped(table):
    """Two experts of the first layer change places."""
    other = json.loads(json.dumps(table))
    row = other["assignment"][0]
    a, b = row.index([0]), row.index([1])
    row[a], row[b] = row[b], row[a]
    return other


def test_placement(ctl, cluster, folder):
    ctl.run("placement", "apply", code=3)
    ctl.run("placement", code=2)
    ctl.run("placement", "rollback", code=6)  # nothing was applied yet
    before = settled(ctl)
    check("table" not in ctl.table("placement", "show", sees=[f"epoch: {before['epoch']}"]), "the assignment is too long for a table")

    # By a file: two experts move there and back.
    path = folder / "table.json"
    path.write_text(json.dumps(swapped(before["table"])))
    ctl.table("placement", "apply", "--table", path, "--dry-run", sees=["moved_experts: 2", "state: dry_run"])
    check(ctl.json("placement", "apply", "--table", path, schema="placement_applied")["moved_experts"] == 2, "apply")
    check(settled(ctl)["table"]["assignment"] == swapped(before["table"])["assignment"], "the file's placement")
    ctl.table("placement", "rollback", sees=["state: ", "moved_experts: 2"])
    check(settled(ctl)["table"]["assignment"] == before["table"]["assignment"], "the old placement")
    check(ctl.json("placement", "rollback", schema="placement_applied")["moved_experts"] == 2, "back again")
    settled(ctl)

    # By a plan, from what routers did.
    check(ctl.json("profile", "start", schema="profile_state")["profiling"], "profile start")
    ctl.table("profile", "start", sees=["profiling: true"])
    check(cluster.post("/v1/completions", {**LONG, "max_tokens": 60}).status == 200, "completion")
    flags = ("placement", "plan", "--time-limit", "0.5", "--max-imbalance", "1.5", "--write-table", path)
    wait_for("a plan", lambda: ctl.start(*flags).returncode == 0, 60)  # exit code 8 until the ranks have reported
    plan = ctl.json(*flags, schema="placement_plan")
    check(json.loads(path.read_text()) == plan["table"], "--write-table")
    check("table" not in ctl.table(*flags, sees=["plan_id: ", "objective_after: "]), "the assignment is too long for a table")
    dry = ctl.json("placement", "apply", "--plan", plan["plan_id"], "--dry-run", schema="placement_applied")
    check(dry["moved_experts"] == plan["moved_experts"], (dry, plan["moved_experts"]))
    ctl.table("placement", "apply", "--plan", plan["plan_id"], sees=["state: "])
    check(settled(ctl)["table"]["assignment"] == plan["table"]["assignment"], "the plan's placement")
    ctl.run("placement", "apply", "--plan", "no-such-plan", code=6)
    ctl.table("profile", "stop", sees=["profiling: false"])
    check(not ctl.json("profile", "stop", schema="profile_state")["profiling"], "profile stop")
    profile = folder / "profile.json"
    check(ctl.table("profile", "save", profile, sees=["profile.json"]).strip() == str(profile), "profile save")
    saved = ctl.json("profile", "save", profile, schema="file")
    check(isinstance(json.loads(profile.read_text()), dict) and saved["bytes"] == profile.stat().st_size, saved)
    ctl.table("profile", "save", "--on-server", "profile2.json", sees=["saved: true"])
    kept = ctl.json("profile", "save", "--on-server", "profile2.json", schema="profile_saved")["file"]
    check(kept == str(folder / "state/documents/profile2.json") and pathlib.Path(kept).stat().st_size > 0, "profile on the server")
    refused = ctl.run("profile", "save", "--on-server", folder / "profile3.json", code=3)
    check("is no path" in refused.stderr and not (folder / "profile3.json").exists(), refused.stderr)
    ctl.table("profile", "load", profile, sees=["loaded: true"])
    ctl.json("profile", "load", "--on-server", "profile2.json", schema="profile_loaded")
    ctl.run("profile", "load", "--on-server", "no-such-profile", code=6)
    ctl.run("profile", "load", folder / "absent.json", code=3)
    (folder / "text").write_text("no profile")
    check("--on-server" in ctl.run("profile", "load", folder / "text", code=3).stderr, "advice for what is no JSON")


# Of every verb that asks the cluster; none may change or tell anything without the key.
ASKING = [["status"], ["health"], ["health", "detail"], ["top", "--count", "1"], ["get", "ranks"], ["get", "requests"], ["describe", "experts"],
          ["get", "model"], ["get", "config"], ["cordon", "--reason", "x"], ["drain", "--reason", "x"], ["undrain"], ["uncordon"], ["cancel", "1"],
          ["wait", "--for=ready"], ["wait", "--for=drained"], ["expert-load"], ["placement", "show"], ["placement", "plan"],
          ["placement", "apply", "--plan", "p"], ["placement", "rollback"], ["profile", "start"], ["profile", "stop"], ["profile", "save", "/nonexistent/p"],
          ["trace", "start"], ["trace", "status"], ["trace", "stop"], ["log-level", "debug"], ["logs"], ["bundle", "/nonexistent/b"]]


def test_refusals(ctl, cluster, folder):
    wrong = folder / "wrong"
    wrong.write_text("not-the-key\n")
    stranger = Ctl(cluster.admin_url, wrong)
    for words in ASKING:
        for form in ("table", "json"):
            done = stranger.run(*words, "-o", form, code=5)
            check(done.stdout == "" and "key" in done.stderr, (words, done))
    for words in (["status"], ["drain", "--reason", "x"], ["bundle", folder / "never.tar.gz"]):
        done = Ctl(cluster.admin_url).run(*words, code=5)
        check(done.stdout == "" and "key" in done.stderr, (words, done))
    # These say what they know of themselves and of this host, and nothing of the cluster.
    check(json.loads(stranger.run("version", "-o", "json", code=5).stdout)["server"] is None, "version")
    findings = {f["check"]: f for f in json.loads(stranger.run("doctor", "-o", "json", code=8).stdout)["findings"]}
    check(findings["admin-listener"]["verdict"] == "ERROR" and "key" in findings["admin-listener"]["what"] and "version" not in findings, findings)
    check(not (folder / "never.tar.gz").exists(), "a bundle without the key")
    check(ctl.json("get", "requests", schema="requests")["requests"] == [] and ctl.json("status", schema="status")["admission"]["open"], "nothing happened")
    refused = Ctl(cluster.url, cluster.folder / "key").run("status", code=5)
    check("admin listener alone" in refused.stderr, refused.stderr)
    test_public_port(cluster)
    Ctl("http://127.0.0.1:1").run("status", code=4)
    Ctl("nonsense").run("status", code=3)
    ctl.run("no-such-verb", code=2)
    Ctl(cluster.admin_url, folder / "absent").run("status", code=3)
    for words in ([], ["--help"], ["drain", "--help"], ["placement", "plan", "--help"]):
        text = subprocess.run([str(CTL), *words], capture_output=True, text=True, check=False)
        check(text.returncode == (0 if words else 2), f"{words}: {text.returncode}")
    check("8 the cluster is not as" in ctl.run("--help").stdout, "exit codes in --help")


def test_public_port(cluster):
    """Whatever the admin listener knows, the public port refuses it, with the admin key and without."""
    paths = ["GET status", "GET health", "GET ranks", "GET requests", "GET experts", "GET model", "GET config", "GET version", "GET history", "GET logs",
             "GET admission", "GET trace", "GET placement", "GET profile", "POST cordon", "POST drain", "POST undrain", "POST log-level",
             "POST trace/start", "POST trace/stop", "POST placement/plan", "POST placement/apply", "POST placement/rollback", "POST profile/start",
             "POST profile/stop", "POST profile/save", "POST profile/load", "DELETE requests/1"]
    for line in paths:
        method, path = line.split()
        for headers in ({}, cluster.key):
            check(cluster.request(method, "/admin/v1/" + path, "{}", headers=headers).status == 403, f"{line} on the public port")
        if method == "GET":  # the list is of paths that exist
            check(cluster.request(method, "/admin/v1/" + path, headers=cluster.key, url=cluster.admin_url).status == 200, path)
    check(cluster.get("/metrics").status == 404 and cluster.get("/ui").status in (403, 404), "metrics and page on the public port")


def test_other_servers():
    """A server without the verb, one of another version and one that is no cluster: a sentence and exit code 7."""
    answers = {"/admin/v1/status": (200, {"version": 2, "kind": "status"}), "/admin/v1/health": (200, "hello"),
               "/admin/v1/logs": (404, {"error": {"message": "There is nothing at /admin/v1/logs.", "code": "not_found"}})}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            status, body = answers[self.path]
            data = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):  # pylint: disable=arguments-differ
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    other = Ctl(f"http://127.0.0.1:{server.server_address[1]}")
    for words, said in ((["status"], "speaks version 2"), (["health"], "did not answer with JSON"), (["logs"], "does not know GET /admin/v1/logs")):
        refused = other.run(*words, code=7)
        check(said in refused.stderr and refused.stdout == "", refused)
    server.shutdown()
    server.server_close()


def test_schemas():
    """Each document says its version and its kind."""
    for name, schema in SCHEMAS.items():
        if name != "chrome_trace":  # Perfetto's format, not ours
            check(schema["properties"]["version"] == {"const": 1} and schema["properties"]["kind"] == {"const": name} and
                  {"version", "kind"} <= set(schema["required"]), name)


def test_settings(cluster, folder):
    """Endpoint and key from a config file, from the environment, and a Unix socket."""
    config = folder / "ctl.toml"
    config.write_text(f'endpoint = "{cluster.admin_url}"\nkey-file = "{cluster.folder / "key"}"\noutput = "json"\n')

    def run(*words, **env):
        done = subprocess.run([str(CTL), *words], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env})
        check(done.returncode == 0, done.stderr)
        return done.stdout

    check(json.loads(run("status", CONCLAVECTL_CONFIG=str(config)))["kind"] == "status", "config file")
    check(run("--config", str(config), "-o", "table", "status").startswith("health"), "flags win over the file")
    check(run("status", CONCLAVECTL_CONFIG="/nonexistent", CONCLAVE_ADMIN_ENDPOINT=cluster.admin_url,
              CONCLAVE_ADMIN_KEY_FILE=str(cluster.folder / "key")).startswith("health"), "environment")
    socket = f"unix:{cluster.folder / 'admin.sock'}"
    check(Ctl(socket, cluster.folder / "key").run("status").stdout.startswith("health"), "Unix socket")


def test_config_file_of_serve(ctl):
    """--config of `conclave serve`: the cluster of this test got some of its settings from one."""
    settings = ctl.json("get", "config", schema="config")["settings"]
    check(settings["max-queue"] == "77" and settings["log-format"] == "json", settings)
    check(settings["max-running"] == "40", "the flag wins over the file")


def test_terminal(cluster):
    """top on a terminal: colour, redraws, ends on q and puts the terminal back; no colour with NO_COLOR."""
    flags = ["--endpoint", cluster.admin_url, "--key-file", str(cluster.folder / "key")]
    for no_colour in ("", "1"):
        primary, secondary = pty.openpty()
        process = subprocess.Popen([str(CTL), *flags, "top", "--interval", "0.2"], stdin=secondary, stdout=secondary, stderr=subprocess.PIPE,
                                   env={**os.environ, "NO_COLOR": no_colour, "CONCLAVECTL_CONFIG": "/nonexistent"})
        os.close(secondary)
        seen, end = b"", time.monotonic() + 60 * PATIENCE
        while seen.count(b"\x1b[H\x1b[2J") < 2 and time.monotonic() < end:
            seen += os.read(primary, 65536)
        os.write(primary, b"q")
        with contextlib.suppress(OSError):
            while chunk := os.read(primary, 65536):
                seen += chunk
        check(process.wait(60 * PATIENCE) == 0, process.stderr.read())
        check(seen.count(b"\x1b[H\x1b[2J") >= 2 and b"\x1b[?1049l" in seen, "no redraw")
        check((b"health     \x1b[3" in seen) == (no_colour == ""), f"NO_COLOR={no_colour!r}")
        os.close(primary)


def main():
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        key = folder / "admin-key"
        key.write_text("# of this test\ntop-secret-key name=operator\n")
        (folder / "serve.toml").write_text('max-queue = 77\nmax-running = 33\nlog-format = "json"\nvllm-metric-names = true\n')
        with Cluster("--config", str(folder / "serve.toml"), "--max-running", "40", "--admin-key-file", str(key), "--admin-socket", str(folder / "admin.sock"),
                     "--state-dir", str(folder / "state"), transport="local", env=SLOW) as cluster:
            cluster.key = {"Authorization": "Bearer top-secret-key"}
            shutil.copy(key, cluster.folder / "key")
            os.symlink(folder / "admin.sock", cluster.folder / "admin.sock")
            ctl = Ctl(cluster.admin_url, cluster.folder / "key")
            for test in (lambda: test_ready_is_no_client(cluster), lambda: test_looking(ctl, cluster), lambda: test_rate_after_a_burst(ctl, cluster),
                         lambda: test_experts(ctl, folder), lambda: test_admission(ctl, cluster), lambda: test_trace_and_logs(ctl, cluster, folder),
                         lambda: test_placement(ctl, cluster, folder), lambda: test_helpers(ctl, cluster, folder),
                         lambda: test_refusals(ctl, cluster, folder), lambda: test_settings(cluster, folder), lambda: test_config_file_of_serve(ctl),
                         lambda: test_terminal(cluster), test_other_servers, test_schemas, lambda: ctl.check_all_worked(folder / "pages")):
                begin = time.monotonic()
                test()
                print(f"passed in {time.monotonic() - begin:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
