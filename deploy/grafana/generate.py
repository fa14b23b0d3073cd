#!/usr/bin/env python3
"""Writes the dashboards beside this file, one panel a line. `generate.py --check` only says whether they are up to date.

Change a panel here, never in the JSON. Every expression is run against a live cluster by tests/integration/prometheus_test.py.
"""
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).with_name("dashboards")
SELECT = 'job=~"$job",instance=~"$instance"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Of provisioning/datasources/conclave.yaml. Where it is not there, Grafana takes its default Prometheus.
PROVISIONED = {"text": "Conclave Prometheus", "value": "conclave-prometheus"}


def rate(metric, by="", more=""):
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{SELECT}{more}}}[$__rate_interval]))"


def quantiles(metric):
    return [(f'histogram_quantile({q}, {rate(metric + "_bucket", "le")})', f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)]


def gauge(metric, more=""):
    return f"{metric}{{{SELECT}{more}}}"


def share(part, whole):
    return f"{part} / clamp_min({whole}, 1e-9)"


# title, unit, [(expression, legend)], what it tells; a type other than timeseries and a width other than a third follow
OVERVIEW = [
    ("Ready", "none", [(f'sum({gauge("conclave_group_state", ",state=" + chr(34) + "ready" + chr(34))})', "ready clusters")],
     "Clusters with a ready worker group.", "stat", 4),
    ("Generated tokens", "short", [(rate("conclave_generation_tokens_total"), "tokens/s")], "Tokens per second.", "stat", 4),
    ("Errors", "percentunit", [('max(instance:conclave_request_errors:ratio_rate5m{' + SELECT + '})', "errors")],
     "Share of requests that ended with an error, 5 minutes.", "stat", 4),
    ("First token within 1 s", "percentunit",
     [(share(rate("conclave_time_to_first_token_seconds_bucket", "", ',le="1"'), rate("conclave_time_to_first_token_seconds_count")), "within 1 s")],
     "Share of requests whose first token came within a second.", "stat", 4),
    ("Open requests", "none", [(f'sum({gauge("conclave_requests_open")})', "open")], "Accepted and not ended.", "stat", 4),
    ("K/V cache", "percentunit", [(f'max({gauge("conclave_kv_cache_usage_ratio")})', "used")], "Used share of the K/V blocks.", "stat", 4),
    ("Time to first token", "s", quantiles("conclave_time_to_first_token_seconds"), "From arrival at the engine."),
    ("Inter-token latency", "s", quantiles("conclave_inter_token_latency_seconds"), "Between two tokens of one sequence."),
    ("Request latency", "s", quantiles("conclave_e2e_request_latency_seconds"), "From arrival to the last token."),
    ("Tokens", "short", [(rate("conclave_prompt_tokens_total"), "prompt computed"), (rate("conclave_prompt_tokens_cached_total"), "prompt cached"),
                         (rate("conclave_generation_tokens_total"), "generated")], "Tokens per second."),
    ("Requests", "reqps", [(rate("conclave_requests_total"), "accepted"), (rate("conclave_requests_finished_total", "reason"), "ended: {{reason}}"),
                           (rate("conclave_requests_refused_total", "reason"), "refused: {{reason}}")], "Sequences per second."),
    ("Queue", "none", [(f'sum({gauge("conclave_requests_running")})', "running"), (f'sum({gauge("conclave_requests_waiting")})', "waiting")],
     "Sequences in steps and in the queue."),
    ("Time in the queue", "s", quantiles("conclave_request_queue_time_seconds"), "Until a request was first part of a step."),
    ("Prompt and output length", "short", [(f'histogram_quantile(0.5, {rate("conclave_request_prompt_tokens_bucket", "le")})', "prompt p50"),
                                           (f'histogram_quantile(0.5, {rate("conclave_request_generation_tokens_bucket", "le")})', "output p50")],
     "Tokens of finished requests."),
    ("HTTP answers", "reqps", [(rate("conclave_http_requests_total", "status"), "{{status}}")], "By status; 499: the client left first."),
]
CLUSTER = [
    ("Group state", "none", [(f'max by (instance, state) ({gauge("conclave_group_state")})', "{{instance}} {{state}}")], "1 for the state that holds."),
    ("Ranks connected", "none", [(f'sum by (instance) ({gauge("conclave_rank_up")})', "{{instance}}")], "Ranks with an open control connection."),
    ("Restarts", "none", [(f'sum by (instance) (increase({gauge("conclave_group_restarts_total")}[15m]))', "{{instance}}")],
     "Restarts of the worker group in 15 minutes."),
    ("Model files that are wrong", "none", [(f'max by (instance) ({gauge("conclave_model_files_wrong")})', "{{instance}}")],
     "Gone, unreadable or not as they were loaded; above 0 a restart would fail."),
    ("Step duration", "s", quantiles("conclave_step_duration_seconds"), "From plan to result."),
    ("Computing", "percentunit", [(rate("conclave_rank_compute_seconds_total", "rank"), "rank {{rank}}")], "Share of time in which a rank computes."),
    ("Waiting for the slowest rank", "percentunit", [(rate("conclave_rank_wait_seconds_total", "rank"), "rank {{rank}}")],
     "Share of time that a rank was done before the slowest one."),
    ("Slowest rank", "percentunit", [(rate("conclave_rank_slowest_steps_total", "rank") + " / on () group_left " + f'clamp_min({rate("conclave_rank_slowest_steps_total")}, 1e-9)',
                                      "rank {{rank}}")], "Share of steps in which a rank computed longest."),
    ("Tokens at home", "short", [(rate("conclave_rank_tokens_total", "rank"), "rank {{rank}}")], "Token rows per second that a rank was home of."),
    ("Heartbeat age", "s", [(f'time() - {gauge("conclave_rank_heartbeat_timestamp_seconds")}', "rank {{rank}}")], "Since the coordinator heard of a rank."),
    ("Load time", "s", [(gauge("conclave_rank_load_duration_seconds"), "rank {{rank}}")], "Of the weights, at the last start."),
    ("Coordinator CPU", "percentunit", [(rate("process_cpu_seconds_total", "instance"), "{{instance}}")], "Cores that the coordinator uses."),
    ("Log records", "short", [(rate("conclave_log_records_total", "level"), "{{level}}")], "Records per second."),
]
EXPERTS = [
    ("Balance by layer", "percentunit", [(gauge("conclave_expert_load_balance_ratio"), "layer {{layer}}")],
     "Mean over maximum of the ranks' expert rows; 1 is perfect.", "timeseries", 12),
    ("Fullest rank over mean", "none", [(gauge("conclave_expert_load_max_ratio"), "layer {{layer}}")], "1 is perfect.", "timeseries", 12),
    ("Worst layer", "percentunit", [('min(instance:conclave_expert_load_balance:min{' + SELECT + '})', "balance")], "Balance of the worst layer.", "stat", 8),
    ("Placement epoch", "none", [(f'max by (instance) ({gauge("conclave_placement_epoch")})', "{{instance}}")], "Grows by one with each re-placement.", "stat", 8),
    ("Expert rows", "short", [(rate("conclave_rank_expert_rows_total", "rank"), "rank {{rank}}")], "Token times chosen expert, per second."),
    ("Re-placements", "none", [(f'sum by (result) (increase({gauge("conclave_replacements_total")}[1h]))', "{{result}}")], "In the last hour."),
    ("Moved experts", "none", [(f'sum(increase({gauge("conclave_replacement_moved_experts_total")}[1h]))', "experts")], "In the last hour."),
    ("Moved weights", "bytes", [(f'sum(increase({gauge("conclave_replacement_moved_bytes_total")}[1h]))', "bytes")], "In the last hour."),
    ("Time of re-placements", "s", [(f'sum(increase({gauge("conclave_replacement_duration_seconds_sum")}[1h]))', "decision to switch"),
                                    (f'sum(increase({gauge("conclave_replacement_pause_seconds_sum")}[1h]))', "pause")], "Summed over the last hour."),
    ("Expert look-ups by tier", "short", [(rate("conclave_expert_cache_hits_total", "tier"), "hit {{tier}}"),
                                          (rate("conclave_expert_cache_misses_total", "tier"), "miss {{tier}}")], "Per second; 0 without offloading."),
]
COMMUNICATION = [
    ("Exchange time by phase", "percentunit", [(rate("conclave_exchange_seconds_total", "phase"), "{{phase}}")],
     "Seconds per second, summed over the ranks; overlapped with computing where it can be."),
    ("Exposed exchange time", "percentunit", [(rate("conclave_exchange_exposed_seconds_total", "rank"), "rank {{rank}}")],
     "Share of time in which a rank only waits for rows."),
    ("Exposed share", "percentunit", [('max by (instance) (instance:conclave_exchange_exposed:ratio_rate5m{' + SELECT + '})', "{{instance}}")],
     "Waiting for rows over waiting and computing."),
    ("Bytes sent", "Bps", [(rate("conclave_exchange_bytes_total", "rank, plan"), "rank {{rank}} {{plan}}")], "In expert exchanges."),
    ("Messages sent", "short", [(rate("conclave_exchange_messages_total", "rank, plan"), "rank {{rank}} {{plan}}")], "Per second, in expert exchanges."),
    ("Bytes of a token row", "bytes", [(share(rate("conclave_exchange_bytes_total"), rate("conclave_rank_tokens_total")), "bytes/row")],
     "Exchanged bytes over computed token rows."),
]
MEMORY = [
    ("K/V cache in use", "percentunit", [(gauge("conclave_kv_cache_usage_ratio"), "{{instance}}")], "Share of the blocks."),
    ("K/V blocks by rank", "none", [(gauge("conclave_rank_kv_blocks_used"), "rank {{rank}} used"), (gauge("conclave_rank_kv_blocks"), "rank {{rank}}")],
     "Blocks of 16 tokens."),
    ("Preemptions", "short", [(rate("conclave_preemptions_total"), "per second")], "Sequences that lost their blocks and are computed again."),
    ("Reserved by ranks", "bytes", [(f'sum by (rank, kind) ({gauge("conclave_rank_memory_bytes")})', "rank {{rank}} {{kind}}")], "Weights and K/V cache."),
    ("Prefix cache hits", "percentunit", [(share(rate("conclave_prefix_cache_hit_tokens_total"), rate("conclave_prefix_cache_queried_tokens_total")), "hit share")],
     "Share of prompt tokens found in the prefix cache."),
    ("Coordinator", "bytes", [(gauge("process_resident_memory_bytes"), "{{instance}}")], "Resident memory."),
    ("File descriptors", "none", [(gauge("process_open_fds"), "{{instance}} open"), (gauge("process_max_fds"), "{{instance}} limit")], "Of the coordinator."),
]
BOARDS = {"overview": ("Overview and SLO", OVERVIEW), "cluster": ("Cluster and ranks", CLUSTER), "experts": ("Experts and placement", EXPERTS),
          "communication": ("Communication", COMMUNICATION), "memory": ("Memory", MEMORY)}


def panels(specification):
    x = y = row = 0
    for number, (title, unit, queries, meaning, *shape) in enumerate(specification, 1):
        kind, width = shape if shape else ("timeseries", 8)
        height = 4 if kind == "stat" else 8
        if x + width > 24:
            x, y = 0, y + row
            row = 0
        defaults = {"unit": unit, **({"min": 0} if kind == "timeseries" else {})}
        yield {"id": number, "type": kind, "title": title, "description": meaning, "datasource": SOURCE,
               "gridPos": {"x": x, "y": y, "w": width, "h": height}, "fieldConfig": {"defaults": defaults, "overrides": []},
               "targets": [{"refId": chr(65 + i), "expr": expression, "legendFormat": legend} for i, (expression, legend) in enumerate(queries)]}
        x, row = x + width, max(row, height)


def variable(name, query):
    return {"name": name, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "refresh": 2, "multi": True,
            "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}


def board(uid, title, specification):
    head = {"id": None, "uid": f"conclave-{uid}", "title": f"Conclave: {title}", "tags": ["conclave"], "schemaVersion": 39, "editable": False,
            "refresh": "10s", "time": {"from": "now-30m", "to": "now"},
            "links": [{"type": "dashboards", "tags": ["conclave"], "title": "Conclave", "asDropdown": True, "keepTime": True, "includeVars": True}],
            "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "current": PROVISIONED}, variable("job", "label_values(conclave_build_info, job)"),
                                    variable("instance", 'label_values(conclave_build_info{job=~"$job"}, instance)')]}}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    body = ",\n".join("  " + json.dumps(panel, separators=(",", ":")) for panel in panels(specification))
    return "{\n" + "\n".join(lines) + '\n"panels": [\n' + body + "\n]\n}\n"


def main():
    stale = []
    for uid, (title, specification) in BOARDS.items():
        path, text = FOLDER / f"{uid}.json", board(uid, title, specification)
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale:
        print(("out of date: " if "--check" in sys.argv else "written: ") + ", ".join(stale))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
