#include "coordinator/admin/metric_catalogue.h"

#include <array>

namespace conclave::coordinator {
namespace {

constexpr std::array kCatalogue = {
    MetricDescription{"conclave_time_to_first_token_seconds", "histogram", "",
                      "Seconds from a request's arrival at the engine to its first token."},
    MetricDescription{"conclave_inter_token_latency_seconds", "histogram", "",
                      "Seconds between two consecutive tokens of one sequence."},
    MetricDescription{"conclave_request_queue_time_seconds", "histogram", "",
                      "Seconds a request waited until it was first part of a step."},
    MetricDescription{"conclave_e2e_request_latency_seconds", "histogram", "",
                      "Seconds from a request's arrival at the engine to its last token."},
    MetricDescription{"conclave_request_prompt_tokens", "histogram", "",
                      "Prompt tokens of a finished request."},
    MetricDescription{"conclave_request_generation_tokens", "histogram", "",
                      "Generated tokens of a finished request."},
    MetricDescription{"conclave_step_duration_seconds", "histogram", "",
                      "Seconds from sending a step plan to its result."},
    MetricDescription{"conclave_prompt_tokens_total", "counter", "",
                      "Prompt tokens computed, recomputed ones included."},
    MetricDescription{"conclave_generation_tokens_total", "counter", "", "Tokens generated."},
    MetricDescription{
        "conclave_prompt_tokens_cached_total", "counter", "",
        "Prompt tokens taken from the prefix cache when their request was first scheduled."},
    MetricDescription{"conclave_requests_total", "counter", "",
                      "Sequences that the engine accepted."},
    MetricDescription{"conclave_requests_finished_total", "counter", "reason",
                      "Sequences that ended: stop, length, cancelled or error."},
    MetricDescription{
        "conclave_requests_refused_total", "counter", "reason",
        "Sequences that the engine refused: queue_full, unavailable, invalid or other."},
    MetricDescription{"conclave_requests_running", "gauge", "",
                      "Sequences that take part in steps."},
    MetricDescription{"conclave_requests_waiting", "gauge", "", "Sequences in the queue."},
    MetricDescription{"conclave_kv_cache_usage_ratio", "gauge", "",
                      "Used share of the key/value blocks, 0 to 1."},
    MetricDescription{"conclave_prefix_cache_queried_tokens_total", "counter", "",
                      "Prompt tokens looked up in the prefix cache."},
    MetricDescription{"conclave_prefix_cache_hit_tokens_total", "counter", "",
                      "Prompt tokens found in the prefix cache."},
    MetricDescription{"conclave_preemptions_total", "counter", "",
                      "Sequences that lost their key/value blocks and were recomputed."},
    MetricDescription{"conclave_group_restarts_total", "counter", "",
                      "Restarts of the worker group."},
    MetricDescription{"conclave_group_state", "gauge", "state",
                      "1 for the worker group's state, 0 for the others."},
    MetricDescription{"conclave_rank_tokens_total", "counter", "rank",
                      "Token rows that a rank was home of."},
    MetricDescription{"conclave_rank_compute_seconds_total", "counter", "rank",
                      "Seconds a rank computed."},
    MetricDescription{"conclave_exchange_seconds_total", "counter", "rank",
                      "Seconds of expert exchange, from begin to finish."},
    MetricDescription{"conclave_exchange_exposed_seconds_total", "counter", "rank",
                      "Seconds of expert exchange that a rank spent waiting."},
    MetricDescription{"conclave_exchange_bytes_total", "counter", "rank",
                      "Bytes a rank sent in expert exchanges."},
    MetricDescription{"conclave_exchange_messages_total", "counter", "rank",
                      "Messages a rank sent in expert exchanges."},
    MetricDescription{
        "conclave_expert_load_balance_ratio", "gauge", "layer",
        "Mean over maximum of the expert rows of the ranks in one MoE layer, over about the last "
        "hundred steps; 1 is perfect balance."},
    MetricDescription{"conclave_http_requests_total", "counter", "handler,method,status",
                      "Answered HTTP requests; status 499: the client left first."},
    MetricDescription{"conclave_http_request_duration_seconds", "histogram", "handler",
                      "Seconds from the complete HTTP request to the complete answer."},
    MetricDescription{"conclave_build_info", "gauge", "version,model",
                      "Always 1; the labels say what runs."},
};

constexpr MetricDescription kNone{};

}  // namespace

std::span<const MetricDescription> metric_catalogue() { return kCatalogue; }

const MetricDescription& metric_description(std::string_view name) {
  for (const MetricDescription& description : kCatalogue) {
    if (description.name == name) return description;
  }
  return kNone;
}

}  // namespace conclave::coordinator
