#!/usr/bin/env python3
"""Every verb of conclavectl against a live cluster: table, JSON by its schema, exit codes; and nothing without the key."""
import contextlib
import json
import os
import pathlib
import pty
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib

import json_schema
from cluster import BINARY, ROOT, Cluster, wait_for

CTL = BINARY.parent / "conclavectl"
SCHEMAS = json.loads((ROOT / "docs/admin_api.schema.json").read_text())["$defs"]
# Some 20 s: rank 1 is made to wait in every step.
SLOW = {"CONCLAVE_FAULT": "slow:rank=1,ms=10"}
LONG = {"model": "demo-moe", "prompt": [5, 6, 7], "max_tokens": 1900, "ignore_eos": True, "temperature": 0}


def check(condition, what):
    if not condition:
        raise AssertionError(what)


class Ctl:
    """conclavectl for one cluster."""

    def __init__(self, endpoint, key_file=None, env=None):
        self.flags = ["--endpoint", endpoint] + (["--key-file", str(key_file)] if key_file else [])
        self.env = {**os.environ, "CONCLAVECTL_CONFIG": "/nonexistent", **(env or {})}

    def run(self, *words, code=0, stdin=None):
        done = subprocess.run([str(CTL), *self.flags, *map(str, words)], capture_output=True, text=True, timeout=60, env=self.env, input=stdin,
                              check=False)
        check(done.returncode == code, f"conclavectl {' '.join(map(str, words))}: exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
        check("\x1b" not in done.stdout + done.stderr, f"{words}: escape sequences without a terminal")
        return done

    def json(self, *words, schema, code=0):
        done = self.run(*words, "-o", "json", code=code)
        document = json.loads(done.stdout)
        wrong = json_schema.errors(document, SCHEMAS[schema])
        check(not wrong, f"{words}: {wrong[:5]}")
        return document


@contextlib.contextmanager
def open_requests(cluster, count):
    """Streams that run until they are cancelled or at their end; yields what became of each."""
    ends = [None] * count

    def one(index):
        last = ""
        for data in cluster.stream("/v1/completions", {**LONG, "seed": index}):
            last = data if data != "[DONE]" else last
        ends[index] = json.loads(last)

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    # From the first token on an end is an event of the stream; before, it is the status of the answer.
    wait_for("requests that stream", lambda: count_streaming(cluster) >= count)
    yield ends
    for thread in threads:
        thread.join(60)


def count_streaming(cluster):
    document = cluster.request("GET", "/admin/v1/requests", url=cluster.admin_url, headers=cluster.key).json()
    return sum(request["generated_tokens"] > 0 for request in document["requests"])


def test_looking(ctl, cluster):
    with open_requests(cluster, 2) as ends:
        status = ctl.json("status", schema="status")
        check(status["requests"]["open"] == 2 and status["model"] == "demo-moe", status)
        screen = ctl.run("status").stdout
        check(screen.startswith("health     ") and "2 of 2 ranks up" in screen, screen)
        requests = ctl.json("get", "requests", schema="requests")["requests"]
        check(len(requests) == 2 and requests[0]["prompt_tokens"] == 3, requests)
        listed = ctl.run("get", "requests", "-o", "wide").stdout
        check(requests[0]["request_id"] in listed and "REPLAYS" in listed, listed)
        one = ctl.json("get", "requests", requests[1]["request_id"], schema="requests")["requests"]
        check([r["id"] for r in one] == [requests[1]["id"]], one)
        check(f"request_id: {requests[0]['request_id']}" in ctl.run("describe", "requests", requests[0]["id"]).stdout, "describe")
        check("REQUEST" in ctl.run("top", "--iterations", "2", "--interval", "0.2").stdout, "top")
        wait_for("expert rows", lambda: any(layer["rank_rows"] for layer in ctl.json("get", "experts", schema="experts")["layers"]))
        gone = ctl.json("cancel", requests[0]["request_id"], schema="cancelled")
        check(gone["cancelled"] == [requests[0]["id"]], gone)
        check(ctl.run("cancel", requests[1]["id"]).stdout.strip() == str(requests[1]["id"]), "cancel by number")
        ctl.run("cancel", "no-such-request", code=6)
    check(all(end and end.get("error", {}).get("code") == "cancelled" for end in ends), ends)

    # A busy machine may make a rank look silent for a moment.
    wait_for("good health", lambda: json.loads(subprocess.run([str(CTL), *ctl.flags, "health", "-o", "json"], capture_output=True, text=True, env=ctl.env,
                                                              timeout=60, check=False).stdout) == {"version": 1, "kind": "health", "health": "OK", "checks": []})
    ranks = ctl.json("get", "ranks", schema="ranks")["ranks"]
    check([r["rank"] for r in ranks] == [0, 1] and all(r["up"] and r["weight_bytes"] > 0 and r["totals"]["expert_rows"] > 0 for r in ranks), ranks)
    check(ranks[1]["totals"]["slowest_steps"] > ranks[0]["totals"]["slowest_steps"] and ranks[0]["totals"]["wait_seconds"] > 0, ranks)
    check("SLOWEST" in ctl.run("get", "ranks").stdout and "EXPOSED" in ctl.run("get", "ranks", "-o", "wide").stdout, "ranks")
    check("heartbeat_age_seconds: " in ctl.run("describe", "ranks", "1").stdout, "describe rank")
    ctl.run("get", "ranks", "7", code=6)
    model = ctl.json("get", "model", schema="model")
    check(model["experts"] > model["top_k"] > 0, model)
    check("active_parameters: " in ctl.run("describe", "model").stdout, "model")
    config = ctl.json("get", "config", schema="config")["settings"]
    check(config["ranks"] == "2" and config["prefix-cache"] == "true", config)
    check("ranks: 2" in ctl.run("get", "config", "ranks").stdout, "one setting")
    ctl.run("get", "config", "colour", code=6)
    versions = ctl.json("version", schema="versions")
    check(versions["client"] == versions["server"]["software"], versions)
    check("conclavectl " in ctl.run("version", "--client").stdout, "version")


def test_experts(ctl, folder):
    experts = ctl.json("expert-load", schema="experts")
    check(sum(sum(layer["rank_rows"]) for layer in experts["layers"]) > 0, experts)
    check(experts["per_expert"] and all(len(layer["expert_rows"]) == len(layer["holders"]) == experts["experts"] for layer in experts["layers"]), experts)
    check({h for layer in experts["layers"] for holders in layer["holders"] for h in holders} == {0, 1}, "holders")
    check("BUSIEST-EXPERTS" in ctl.run("expert-load").stdout, "table")
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
    check("do: `conclavectl undrain`" in ctl.run("health", "detail", code=8).stdout, "advice")
    ctl.run("wait", "--for=ready", "--timeout", "0.3s", code=8)
    check(ctl.json("undrain", schema="admission")["open"], "undrain")
    check(ctl.run("wait", "--for=ready", "--timeout", "20s").stdout == "ready\n", "wait")
    check(ctl.run("uncordon").stdout.startswith("open"), "uncordon")

    with open_requests(cluster, 1) as ends:
        late = ctl.run("drain", "--reason", "upgrade", "--deadline", "0.5s", code=8)
        check("draining: 1 requests open" in late.stderr and "still open" in late.stderr, late.stderr)
        ctl.run("wait", "--for", "drained", "--timeout", "0.3s", code=8)
        drained = ctl.json("drain", "--reason", "upgrade", "--deadline", "0.1s", "--cancel-open", schema="admission")
        check(drained["drained"] and drained["requests_open"] == 0, drained)
    check(ends[0]["error"]["code"] == "cancelled", ends)
    check(ctl.json("wait", "--for", "drained", schema="admission")["drained"], "wait drained")
    check(not ctl.json("drain", "--reason", "again", "--no-wait", schema="admission")["open"], "no-wait")
    ctl.run("undrain")
    check(cluster.post("/v1/completions", {**LONG, "max_tokens": 2}).status == 200, "open again")


def records(cluster):
    """The JSON records of the log, ranks' ones included."""
    return [json.loads(line) for line in cluster.log().splitlines() if line.startswith("{") and line.endswith("}")]


def test_trace_and_logs(ctl, cluster, folder):
    ctl.run("trace", "start", "--steps", "0", code=2)
    check(ctl.json("trace", "start", "--steps", "4", schema="trace")["running"], "trace")
    check(cluster.post("/v1/completions", {**LONG, "max_tokens": 12}).status == 200, "completion")
    wait_for("a traced step", lambda: not ctl.json("trace", "status", schema="trace")["running"])
    check("steps_wanted: 4" in ctl.run("trace", "status").stdout, "status")
    path = folder / "trace.json"
    ctl.run("trace", "stop", "--write", path)
    trace = json.loads(path.read_text())
    wrong = json_schema.errors(trace, SCHEMAS["chrome_trace"])
    check(not wrong, wrong[:5])
    spans = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    check({e["pid"] for e in spans} == {0, 1, 2}, "coordinator and two ranks")
    check({"attention", "experts", "exchange", "gemm", "step"} <= {e["cat"] for e in spans}, {e["cat"] for e in spans})
    steps = {e["args"]["step"]: e for e in spans if e["cat"] == "step"}
    check(len(steps) == 4, steps.keys())
    for event in spans:
        step = steps[event["args"]["step"]]
        check(event["dur"] >= 0 and step["ts"] - 1 <= event["ts"] and event["ts"] + event["dur"] <= step["ts"] + step["dur"] + 1, (event, step))
    check("traceEvents" in ctl.run("trace", "stop").stdout, "to stdout")

    check(ctl.json("log-level", "debug", schema="log_level") == {"version": 1, "kind": "log_level", "before": "info", "level": "debug"}, "level")
    cluster.post("/v1/completions", {**LONG, "max_tokens": 2}, headers={"x-request-id": "find-me"})
    wait_for("the request in the log", lambda: any(r.get("request_id") == "find-me" for r in records(cluster)))
    wait_for("the ranks' records", lambda: {0, 1} <= {record["rank"] for record in records(cluster) if record["level"] == "debug" and "step" in record})
    check("level: info" in ctl.run("log-level", "info").stdout, "level back")
    ctl.run("log-level", "loud", code=2)
    check(any("log level changed" in line for line in ctl.json("logs", schema="logs")["lines"]), "logs")
    check("log level changed" in ctl.run("logs").stdout, "logs as text")


def test_helpers(ctl, cluster, folder):
    doctor = ctl.json("doctor", schema="doctor")
    check({"cpu", "memory", "open-files", "admin-listener", "version"} <= {f["check"] for f in doctor["findings"]}, doctor)
    check(all(f["advice"] for f in doctor["findings"] if f["verdict"] in ("WARN", "ERROR")), doctor)
    check("cpu: " in ctl.run("doctor", "--host-only").stdout, "doctor")
    bundle = folder / "bundle.tar.gz"
    check(ctl.json("bundle", bundle, schema="bundle")["bytes"] > 1000, "bundle")
    with tarfile.open(bundle) as tar:
        files = {pathlib.PurePath(m.name).name: tar.extractfile(m).read().decode() for m in tar.getmembers() if m.isfile()}
    check({"status.json", "ranks.json", "config.json", "metrics.txt", "logs.json", "doctor.json", "README.txt"} <= set(files), sorted(files))
    check(json.loads(files["config.json"])["settings"]["admin-key-file"] == "(set)", files["config.json"])
    for name, text in files.items():
        check("top-secret-key" not in text and str(cluster.folder / "key") not in text, f"a secret in {name}")
    metrics = ctl.json("metrics", schema="metrics")["metrics"]
    scraped = cluster.request("GET", "/metrics", url=cluster.admin_url, headers=cluster.key).body.decode()
    missing = [m["name"] for m in metrics if f"# TYPE {m['name']} {m['type']}\n" not in scraped]
    check(not missing, f"in the catalogue, not in /metrics: {missing}")
    check(all(f"# TYPE {m['vllm']} " in scraped for m in metrics if m["vllm"]), "vLLM's names")
    check("| `conclave_requests_total` |" in ctl.run("metrics", "--markdown").stdout, "markdown")
    check_yaml(ctl)
    check_completion(ctl)
    ctl.run("man", "--folder", folder / "man")
    pages = {p.name: p.read_text() for p in (folder / "man").iterdir()}
    check("conclavectl-placement-plan.1" in pages and "\\-\\-cancel\\-open" in pages["conclavectl-drain.1"], sorted(pages))
    check(all(".SH EXIT STATUS" in page for page in pages.values()) and ".TH" in ctl.run("man").stdout, "man pages")


def check_yaml(ctl):
    text = ctl.run("status", "-o", "yaml").stdout
    check("kind: status\n" in text and "  state: ready\n" in text, text)
    with contextlib.suppress(ImportError):
        import yaml  # pylint: disable=import-outside-toplevel
        for words in (["get", "ranks"], ["metrics"], ["doctor", "--host-only"], ["get", "config"]):
            data = json.loads(ctl.run(*words, "-o", "json").stdout)
            check(set(yaml.safe_load(ctl.run(*words, "-o", "yaml").stdout)) == set(data), f"{words} as YAML")


def check_completion(ctl):
    script = ctl.run("completion", "bash").stdout

    def complete(*words):
        typed = " ".join(f"'{w}'" for w in words)
        done = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _conclavectl; echo \"${{COMPREPLY[@]}}\""],
                              capture_output=True, text=True, check=True)
        return done.stdout.split()

    check("drain" in complete("conclavectl", "dr"), complete("conclavectl", "dr"))
    check({"show", "plan", "apply", "rollback"} <= set(complete("conclavectl", "placement", "")), complete("conclavectl", "placement", ""))
    check("--cancel-open" in complete("conclavectl", "drain", "--c"), "flags")
    check("yaml" in complete("conclavectl", "-o", ""), "choices")
    check("complete -c conclavectl" in ctl.run("completion", "fish").stdout, "fish")
    check("#compdef conclavectl" in ctl.run("completion", "zsh").stdout, "zsh")
    ctl.run("completion", "csh", code=2)


def test_placement(ctl, cluster, folder):
    """Where this server has no placement verbs, one clear sentence and its own exit code."""
    ctl.run("placement", "apply", code=3)
    ctl.run("placement", code=2)
    known = subprocess.run([str(CTL), *ctl.flags, "placement", "show"], capture_output=True, text=True, timeout=60, env=ctl.env, check=False)
    if known.returncode != 0:
        for words in (["placement", "show"], ["placement", "rollback"], ["placement", "plan"], ["placement", "apply", "--plan", "p"], ["profile", "start"],
                      ["profile", "stop"], ["profile", "save", folder / "never"]):
            refused = ctl.run(*words, code=7)
            check("does not know" in refused.stderr and refused.stdout == "", refused)
        print("placement: not in this server")
        return
    before = ctl.json("placement", "show", schema="placement")
    check(f"epoch: {before['epoch']}" in known.stdout and "table" not in known.stdout, known.stdout)
    table = folder / "table.json"
    ctl.json("profile", "start", schema="profile_state")
    check(cluster.post("/v1/completions", {**LONG, "max_tokens": 60}).status == 200, "completion")
    plan = wait_for("a plan", lambda: plan_or_nothing(ctl, table), 60)
    wrong = json_schema.errors(plan, SCHEMAS["placement_plan"])
    check(not wrong and json.loads(table.read_text()) == plan["table"], wrong)
    dry = ctl.json("placement", "apply", "--plan", plan["plan_id"], "--dry-run", schema="placement_applied")
    check(dry["moved_experts"] == plan["moved_experts"], (dry, plan["moved_experts"]))
    check("moved_experts: " in ctl.run("placement", "apply", "--table", table, "--dry-run").stdout, "table")
    ctl.json("placement", "apply", "--plan", plan["plan_id"], schema="placement_applied")
    wait_for("the new placement", lambda: ctl.json("placement", "show", schema="placement")["pending"] is None)
    ctl.run("placement", "apply", "--plan", "no-such-plan", code=6)
    if plan["moved_experts"] > 0:
        check(ctl.json("placement", "show", schema="placement")["epoch"] > before["epoch"], "epoch")
        check("state: " in ctl.run("placement", "rollback").stdout, "rollback")
        wait_for("the old placement", lambda: ctl.json("placement", "show", schema="placement")["pending"] is None)
    check("version" in ctl.json("profile", "stop", schema="profile_state"), "profile stop")
    profile = folder / "profile.json"
    ctl.run("profile", "save", profile)
    check(isinstance(json.loads(profile.read_text()), dict), "profile")
    ctl.run("profile", "save", "--on-server", folder / "profile2.json")
    check((folder / "profile2.json").stat().st_size > 0, "profile on the server")
    ctl.run("profile", "load", folder / "profile2.json")


def plan_or_nothing(ctl, table):
    """A plan, once the profile has something to plan from."""
    done = subprocess.run([str(CTL), *ctl.flags, "placement", "plan", "--time-limit", "2", "--max-imbalance", "1.5", "--write-table", str(table), "-o", "json"],
                          capture_output=True, text=True, timeout=60, env=ctl.env, check=False)
    check(done.returncode in (0, 8), done.stderr)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_refusals(ctl, cluster, folder):
    wrong = folder / "wrong"
    wrong.write_text("not-the-key\n")
    for flags in (["--key-file", str(wrong)], []):
        for words in (["status"], ["get", "requests"], ["drain", "--reason", "x"], ["cancel", "1"], ["bundle", str(folder / "never.tar.gz")]):
            done = Ctl(cluster.admin_url).run(*flags, *words, code=5)
            check(done.stdout == "" and "key" in done.stderr, (words, done))
    check(not (folder / "never.tar.gz").exists(), "a bundle without the key")
    refused = Ctl(cluster.url, cluster.folder / "key").run("status", code=5)
    check("admin listener alone" in refused.stderr, refused.stderr)
    check(cluster.post("/admin/v1/drain", {"reason": "x"}).status == 403, "admin verb on the public port")
    check(cluster.get("/metrics").status == 404, "metrics on the public port")
    Ctl("http://127.0.0.1:1").run("status", code=4)
    Ctl("nonsense").run("status", code=3)
    ctl.run("no-such-verb", code=2)
    Ctl(cluster.admin_url, folder / "absent").run("status", code=3)
    for words in ([], ["--help"], ["drain", "--help"], ["placement", "plan", "--help"]):
        text = subprocess.run([str(CTL), *words], capture_output=True, text=True, check=False)
        check(text.returncode == (0 if words else 2), f"{words}: {text.returncode}")
    check("8 the cluster is not as" in ctl.run("--help").stdout, "exit codes in --help")


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
        seen, end = b"", time.monotonic() + 20
        while seen.count(b"health") < 2 and time.monotonic() < end:
            seen += os.read(primary, 65536)
        os.write(primary, b"q")
        with contextlib.suppress(OSError):
            while chunk := os.read(primary, 65536):
                seen += chunk
        check(process.wait(20) == 0, process.stderr.read())
        check(seen.count(b"\x1b[H\x1b[2J") >= 2 and b"\x1b[?1049l" in seen, "no redraw")
        check((b"health     \x1b[3" in seen) == (no_colour == ""), f"NO_COLOR={no_colour!r}")
        os.close(primary)


def main():
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        key = folder / "admin-key"
        key.write_text("top-secret-key\n")
        (folder / "serve.toml").write_text('max-queue = 77\nmax-running = 33\nlog-format = "json"\nvllm-metric-names = true\n')
        with Cluster("--config", str(folder / "serve.toml"), "--max-running", "40", "--admin-key-file", str(key), "--admin-socket", str(folder / "admin.sock"), transport="local", env=SLOW) as cluster:
            cluster.key = {"Authorization": "Bearer top-secret-key"}
            (cluster.folder / "key").write_text("top-secret-key\n")
            os.symlink(folder / "admin.sock", cluster.folder / "admin.sock")
            ctl = Ctl(cluster.admin_url, cluster.folder / "key")
            for test in (lambda: test_looking(ctl, cluster), lambda: test_experts(ctl, folder), lambda: test_admission(ctl, cluster),
                         lambda: test_trace_and_logs(ctl, cluster, folder), lambda: test_placement(ctl, cluster, folder), lambda: test_helpers(ctl, cluster, folder),
                         lambda: test_refusals(ctl, cluster, folder), lambda: test_settings(cluster, folder), lambda: test_config_file_of_serve(ctl), lambda: test_terminal(cluster)):
                begin = time.monotonic()
                test()
                print(f"passed in {time.monotonic() - begin:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
