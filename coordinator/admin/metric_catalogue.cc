#include "coordinator/admin/metric_catalogue.h"

#include <array>

namespace conclave::coordinator {
namespace {

constexpr std::array kCatalogue = {
    MetricDescription{"conclave_time_to_first_token_seconds", "histogram", "",
                      "Latency of requests",
                      "Seconds from a request's arrival at the engine to its first token.",
                      "vllm:time_to_first_token_seconds"},
    MetricDescription{"conclave_inter_token_latency_seconds", "histogram", "",
                      "Latency of requests",
                      "Seconds between two consecutive tokens of one sequence.",
                      "vllm:inter_token_latency_seconds"},
    MetricDescription{"conclave_request_queue_time_seconds", "histogram", "", "Latency of requests",
                      "Seconds a request waited until it was first part of a step.",
                      "vllm:request_queue_time_seconds"},
    MetricDescription{"conclave_e2e_request_latency_seconds", "histogram", "",
                      "Latency of requests",
                      "Seconds from a request's arrival at the engine to its last token.",
                      "vllm:e2e_request_latency_seconds"},
    MetricDescription{"conclave_request_prompt_tokens", "histogram", "", "Latency of requests",
                      "Prompt tokens of a finished request.", "vllm:request_prompt_tokens"},
    MetricDescription{"conclave_request_generation_tokens", "histogram", "", "Latency of requests",
                      "Generated tokens of a finished request.", "vllm:request_generation_tokens"},
    MetricDescription{"conclave_step_duration_seconds", "histogram", "", "Latency of requests",
                      "Seconds a step took: from its plan, or from the result before if that came later, to its result.", ""},
    MetricDescription{"conclave_prompt_tokens_total", "counter", "", "Throughput and queue",
                      "Prompt tokens computed, recomputed ones included.",
                      "vllm:prompt_tokens_total"},
    MetricDescription{"conclave_generation_tokens_total", "counter", "", "Throughput and queue",
                      "Tokens generated.", "vllm:generation_tokens_total"},
    MetricDescription{
        "conclave_prompt_tokens_cached_total", "counter", "", "Throughput and queue",
        "Prompt tokens taken from the prefix cache when their request was first scheduled.", ""},
    MetricDescription{"conclave_requests_total", "counter", "", "Throughput and queue",
                      "Sequences that the engine accepted.", ""},
    MetricDescription{
        "conclave_requests_finished_total", "counter", "reason", "Throughput and queue",
        "Sequences that ended: stop, length, cancelled or error.", "vllm:request_success_total"},
    MetricDescription{
        "conclave_requests_refused_total", "counter", "reason", "Throughput and queue",
        "Sequences that the engine refused: queue_full, unavailable, invalid or other.", ""},
    MetricDescription{"conclave_requests_running", "gauge", "", "Throughput and queue",
                      "Sequences that take part in steps.", "vllm:num_requests_running"},
    MetricDescription{"conclave_requests_waiting", "gauge", "", "Throughput and queue",
                      "Sequences in the queue.", "vllm:num_requests_waiting"},
    MetricDescription{"conclave_requests_open", "gauge", "", "Throughput and queue",
                      "Accepted sequences that have not ended.", ""},
    MetricDescription{"conclave_key_requests_running", "gauge", "key", "Throughput and queue",
                      "Sequences of an API key, by its name, that take part in steps.", ""},
    MetricDescription{"conclave_key_requests_waiting", "gauge", "key", "Throughput and queue",
                      "Sequences of an API key in the queue.", ""},
    MetricDescription{"conclave_key_tokens_total", "counter", "key,kind", "Throughput and queue",
                      "Tokens that an API key was served: prompt, counted when the request is first "
                      "scheduled, or generation.",
                      ""},
    MetricDescription{"conclave_kv_cache_usage_ratio", "gauge", "", "Key/value cache",
                      "Used share of the key/value blocks, 0 to 1.", "vllm:kv_cache_usage_perc"},
    MetricDescription{"conclave_prefix_cache_queried_tokens_total", "counter", "",
                      "Key/value cache", "Prompt tokens looked up in the prefix cache.",
                      "vllm:prefix_cache_queries_total"},
    MetricDescription{"conclave_prefix_cache_hit_tokens_total", "counter", "", "Key/value cache",
                      "Prompt tokens found in the prefix cache.", "vllm:prefix_cache_hits_total"},
    MetricDescription{"conclave_preemptions_total", "counter", "", "Key/value cache",
                      "Sequences that lost their key/value blocks and were recomputed.",
                      "vllm:num_preemptions_total"},
    MetricDescription{"conclave_group_state", "gauge", "state", "Worker group and ranks",
                      "1 for the worker group's state, 0 for the others.", ""},
    MetricDescription{"conclave_group_restarts_total", "counter", "", "Worker group and ranks",
                      "Restarts of the worker group.", ""},
    MetricDescription{
        "conclave_admission_open", "gauge", "", "Worker group and ranks",
        "1 while new requests are taken, 0 while the cluster is cordoned, draining or stopping.",
        ""},
    MetricDescription{
        "conclave_model_files_wrong", "gauge", "", "Worker group and ranks",
        "Files of the model that are gone, unreadable or not as they were loaded: above 0 the next "
        "restart of the worker group cannot load.",
        ""},
    MetricDescription{"conclave_rank_up", "gauge", "rank", "Worker group and ranks",
                      "1 while the rank's control connection is open.", ""},
    MetricDescription{"conclave_rank_heartbeat_timestamp_seconds", "gauge", "rank",
                      "Worker group and ranks",
                      "When the coordinator last heard of the rank, in seconds since 1970.", ""},
    MetricDescription{"conclave_rank_kv_blocks", "gauge", "rank", "Worker group and ranks",
                      "Key/value blocks of the rank.", ""},
    MetricDescription{"conclave_rank_kv_blocks_used", "gauge", "rank", "Worker group and ranks",
                      "Key/value blocks of the rank that a sequence holds.", ""},
    MetricDescription{"conclave_rank_memory_bytes", "gauge", "rank,kind", "Worker group and ranks",
                      "Bytes that a rank reserved when it loaded: weights or kv_cache.", ""},
    MetricDescription{"conclave_rank_load_duration_seconds", "gauge", "rank",
                      "Worker group and ranks", "Seconds the rank took to load its weights.", ""},
    MetricDescription{"conclave_rank_tokens_total", "counter", "rank", "Worker group and ranks",
                      "Token rows that a rank was home of.", ""},
    MetricDescription{"conclave_rank_compute_seconds_total", "counter", "rank",
                      "Worker group and ranks", "Seconds a rank computed.", ""},
    MetricDescription{
        "conclave_rank_wait_seconds_total", "counter", "rank", "Worker group and ranks",
        "Seconds by which a rank finished its computing before the slowest rank of each step.", ""},
    MetricDescription{"conclave_rank_slowest_steps_total", "counter", "rank",
                      "Worker group and ranks",
                      "Steps in which the rank computed longest; counted from two ranks on.", ""},
    MetricDescription{
        "conclave_exchange_seconds_total", "counter", "rank,phase", "Expert exchange",
        "Seconds from the begin of an exchange to its arrival; phase: dispatch or combine.", ""},
    MetricDescription{"conclave_exchange_exposed_seconds_total", "counter", "rank",
                      "Expert exchange", "Seconds of expert exchange that a rank spent waiting.",
                      ""},
    MetricDescription{"conclave_exchange_bytes_total", "counter", "rank,plan,direction",
                      "Expert exchange",
                      "Bytes of rows that a rank sent to other ranks, without lists and padding; "
                      "plan: fixed or coherent; direction: dispatch, return or key_value.",
                      ""},
    MetricDescription{
        "conclave_exchange_messages_total", "counter", "rank,plan,direction", "Expert exchange",
        "Rows that a rank sent to other ranks, as the placement objective counts: a "
        "token and a remote rank in one MoE layer; plan: fixed or coherent; direction: "
        "dispatch, return or key_value (once a step to each rank).",
        ""},
    MetricDescription{"conclave_rank_expert_rows_total", "counter", "rank", "Experts and placement",
                      "Expert rows (token times chosen expert) that a rank computed.", ""},
    MetricDescription{"conclave_expert_load_balance_ratio", "gauge", "layer",
                      "Experts and placement",
                      "Mean over maximum of the expert rows of the ranks in one MoE layer, over "
                      "about the last hundred steps; 1 is perfect balance.",
                      ""},
    MetricDescription{"conclave_expert_load_max_ratio", "gauge", "layer", "Experts and placement",
                      "Maximum over mean of the expert rows of the ranks in one MoE layer, over "
                      "the same window; 1 is perfect balance.",
                      ""},
    MetricDescription{"conclave_placement_epoch", "gauge", "", "Experts and placement",
                      "Epoch of the placement table in use.", ""},
    MetricDescription{
        "conclave_replacements_total", "counter", "result", "Experts and placement",
        "Changes of the placement table: applied or failed. A rollback is one that is applied.",
        ""},
    MetricDescription{
        "conclave_replacement_duration_seconds", "histogram", "", "Experts and placement",
        "Seconds from the begin of a change of the placement table to its last switch.", ""},
    MetricDescription{"conclave_replacement_pause_seconds", "histogram", "",
                      "Experts and placement",
                      "Seconds that the slowest rank took to switch, summed over the switches of a "
                      "change of the placement table.",
                      ""},
    MetricDescription{"conclave_replacement_moved_experts_total", "counter", "",
                      "Experts and placement", "Experts that changed their rank in re-placements.",
                      ""},
    MetricDescription{"conclave_replacement_moved_bytes_total", "counter", "",
                      "Experts and placement",
                      "Bytes of weights that ranks loaded for re-placements.", ""},
    MetricDescription{"conclave_expert_cache_hits_total", "counter", "tier",
                      "Experts and placement",
                      "Expert look-ups that found the weights in a tier: device, host or disk. "
                      "Stays 0 without offloading.",
                      ""},
    MetricDescription{
        "conclave_expert_cache_misses_total", "counter", "tier", "Experts and placement",
        "Expert look-ups that had to go on to the next tier. Stays 0 without offloading.", ""},
    MetricDescription{"conclave_http_requests_total", "counter", "handler,method,status",
                      "HTTP, logs and process",
                      "Answered HTTP requests; status 499: the client left first.", ""},
    MetricDescription{"conclave_http_request_duration_seconds", "histogram", "handler",
                      "HTTP, logs and process",
                      "Seconds from the complete HTTP request to the complete answer.", ""},
    MetricDescription{"conclave_log_records_total", "counter", "level", "HTTP, logs and process",
                      "Log records of the coordinator: debug, info, warning or error; those below "
                      "its level do not count.",
                      ""},
    MetricDescription{"conclave_build_info", "gauge", "version,model", "HTTP, logs and process",
                      "Always 1; the labels say what runs.", ""},
    MetricDescription{"process_cpu_seconds_total", "counter", "", "HTTP, logs and process",
                      "CPU seconds of the coordinator, user and system.", ""},
    MetricDescription{"process_resident_memory_bytes", "gauge", "", "HTTP, logs and process",
                      "Resident memory of the coordinator.", ""},
    MetricDescription{"process_open_fds", "gauge", "", "HTTP, logs and process",
                      "Open file descriptors of the coordinator.", ""},
    MetricDescription{"process_max_fds", "gauge", "", "HTTP, logs and process",
                      "Limit of open file descriptors of the coordinator.", ""},
    MetricDescription{"process_start_time_seconds", "gauge", "", "HTTP, logs and process",
                      "When the coordinator started, in seconds since 1970.", ""},
};

constexpr MetricDescription kNone{};

constexpr std::string_view kIntroduction =
    "# Metrics\n\n"
    "Written by `conclavectl metrics --markdown` from `coordinator/admin/metric_catalogue.cc`; a "
    "test compares the two.\n\n"
    "`GET /metrics` on the admin listener answers in the Prometheus text format. Names keep "
    "Prometheus' rules: base units, `_total` on\n"
    "counters, bounded labels. `rank` has as many values as the group has ranks, `layer` as many "
    "as the model has MoE layers, `handler` is a\n"
    "route, `key` the name of an API key, `other` for keys beyond a hundred. Per-expert numbers are not metrics (their count is unbounded): see `conclavectl "
    "expert-load -o json`. Latency histograms begin at\n"
    "0.5 ms. With `--vllm-metric-names` the metrics of the last table are exported a second time "
    "under the names that routers and ready\n"
    "dashboards read, with the labels `model_name` and `engine`; there `reason` is called "
    "`finished_reason`.\n\n"
    "What `/ready` generates to prove that the cluster lives shows in steps, ranks and gauges; no "
    "request, token or latency of clients counts it. The start-up check shows nowhere.\n\n"
    "Cost: `conclave bench metrics` measures what one generated token adds to the coordinator; see "
    "[benchmarks.md](benchmarks.md).\n";

}  // namespace

std::span<const MetricDescription> metric_catalogue() { return kCatalogue; }

const MetricDescription& metric_description(std::string_view name) {
  for (const MetricDescription& description : kCatalogue) {
    if (description.name == name) return description;
  }
  return kNone;
}

std::string metric_catalogue_markdown() {
  std::string out(kIntroduction);
  std::string_view group;
  for (const MetricDescription& metric : kCatalogue) {
    if (metric.group != group) {
      group = metric.group;
      out.append("\n## ").append(group).append(
          "\n\n| name | type | labels | meaning |\n|---|---|---|---|\n");
    }
    out.append("| `").append(metric.name).append("` | ").append(metric.type).append(" | ");
    out.append(metric.labels).append(" | ").append(metric.help).append(" |\n");
  }
  out.append("\n## Names of vLLM\n\n| vLLM's name | Conclave's |\n|---|---|\n");
  for (const MetricDescription& metric : kCatalogue) {
    if (metric.vllm.empty()) continue;
    out.append("| `").append(metric.vllm).append("` | `").append(metric.name).append("` |\n");
  }
  return out;
}

}  // namespace conclave::coordinator
