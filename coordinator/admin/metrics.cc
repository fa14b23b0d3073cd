#include "coordinator/admin/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

#include "coordinator/admin/metric_catalogue.h"
#include "coordinator/admin/scraped_metrics.h"

namespace conclave::coordinator {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

const Buckets kLatencyBuckets = {.0005, .001, .002, .003, .005, .0075, .01, .015, .02, .03,
                                 .05,   .075, .1,   .15,  .2,   .3,    .5,  .75,  1,   1.5,
                                 2,     3,    5,    7.5,  10,   20,    40,  80,   160, 320};
const Buckets kTokenBuckets = {1,   2,   5,   10,  20,  50,  100, 200, 500,
                               1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5};
constexpr std::array kStates = {"starting", "loading", "ready", "failed", "draining", "stopped"};
constexpr std::array kReasons = {"stop", "length", "cancelled", "error"};
constexpr std::array kMethods = {"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"};

template <typename Builder>
auto& add_family(Builder builder, std::string_view name, prometheus::Registry& registry) {
  return builder.Name(std::string(name))
      .Help(std::string(metric_description(name).help))
      .Register(registry);
}

const char* refusal_reason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kResourceExhausted:
      return "queue_full";
    case absl::StatusCode::kUnavailable:
      return "unavailable";
    case absl::StatusCode::kInvalidArgument:
      return "invalid";
    default:
      return "other";
  }
}

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;

  Histogram& latency(std::string_view name) { return histogram(name, kLatencyBuckets); }
  Histogram& histogram(std::string_view name, const Buckets& buckets) {
    return add_family(prometheus::BuildHistogram(), name, registry).Add({}, buckets);
  }
  Counter& counter(std::string_view name) { return counters(name).Add({}); }
  Gauge& gauge(std::string_view name) { return gauges(name).Add({}); }
  prometheus::Family<Counter>& counters(std::string_view name) {
    return add_family(prometheus::BuildCounter(), name, registry);
  }
  prometheus::Family<Gauge>& gauges(std::string_view name) {
    return add_family(prometheus::BuildGauge(), name, registry);
  }

  Histogram& first_token = latency("conclave_time_to_first_token_seconds");
  Histogram& next_token = latency("conclave_inter_token_latency_seconds");
  Histogram& queue_time = latency("conclave_request_queue_time_seconds");
  Histogram& request_time = latency("conclave_e2e_request_latency_seconds");
  Histogram& step_time = latency("conclave_step_duration_seconds");
  Histogram& request_prompt = histogram("conclave_request_prompt_tokens", kTokenBuckets);
  Histogram& request_generation = histogram("conclave_request_generation_tokens", kTokenBuckets);
  Counter& prompt_tokens = counter("conclave_prompt_tokens_total");
  Counter& generation_tokens = counter("conclave_generation_tokens_total");
  Counter& cached_tokens = counter("conclave_prompt_tokens_cached_total");
  Counter& queued = counter("conclave_requests_total");
  Counter& prefix_queried = counter("conclave_prefix_cache_queried_tokens_total");
  Counter& prefix_hit = counter("conclave_prefix_cache_hit_tokens_total");
  Counter& preemptions = counter("conclave_preemptions_total");
  Counter& restarts = counter("conclave_group_restarts_total");
  Gauge& running = gauge("conclave_requests_running");
  Gauge& waiting = gauge("conclave_requests_waiting");
  Gauge& kv_usage = gauge("conclave_kv_cache_usage_ratio");
  prometheus::Family<Gauge>& states = gauges("conclave_group_state");
  prometheus::Family<Gauge>& build_info = gauges("conclave_build_info");
  prometheus::Family<Counter>& finished = counters("conclave_requests_finished_total");
  prometheus::Family<Counter>& refused = counters("conclave_requests_refused_total");
  prometheus::Family<Counter>& replacements = counters("conclave_replacements_total");
  Histogram& replacement_time = latency("conclave_replacement_duration_seconds");
  Histogram& replacement_pause = latency("conclave_replacement_pause_seconds");
  Counter& moved_experts = counter("conclave_replacement_moved_experts_total");
  Counter& moved_bytes = counter("conclave_replacement_moved_bytes_total");
  prometheus::Family<Counter>& cache_hits = counters("conclave_expert_cache_hits_total");
  prometheus::Family<Counter>& cache_misses = counters("conclave_expert_cache_misses_total");
  prometheus::Family<Gauge>& key_running = gauges("conclave_key_requests_running");
  prometheus::Family<Gauge>& key_waiting = gauges("conclave_key_requests_waiting");
  prometheus::Family<Counter>& key_tokens = counters("conclave_key_tokens_total");
  std::set<std::string> keys;  // that have a label of their own
  std::set<std::string> loaded_keys;  // labels whose gauges are not 0
  prometheus::Family<Counter>& http = counters("conclave_http_requests_total");
  prometheus::Family<Histogram>& http_time =
      add_family(prometheus::BuildHistogram(), "conclave_http_request_duration_seconds", registry);

  std::array<Gauge*, kStates.size()> state{};
  std::array<Counter*, kReasons.size()> finish_reason{};
};

Metrics::Metrics(Options options)
    : options_(std::move(options)), families_(std::make_unique<Families>()) {
  for (size_t i = 0; i < kStates.size(); ++i)
    families_->state[i] = &families_->states.Add({{"state", kStates[i]}});
  for (size_t i = 0; i < kReasons.size(); ++i) {
    families_->finish_reason[i] = &families_->finished.Add({{"reason", kReasons[i]}});
  }
  for (const char* reason : {"queue_full", "unavailable", "invalid"})
    families_->refused.Add({{"reason", reason}});
  for (const char* result : {"applied", "failed"})
    families_->replacements.Add({{"result", result}});
  for (const char* tier : {"device", "host", "disk"}) {
    families_->cache_hits.Add({{"tier", tier}});
    families_->cache_misses.Add({{"tier", tier}});
  }
  // Without keys as well, so that the metrics are there.
  families_->key_running.Add({{"key", "other"}});
  families_->key_waiting.Add({{"key", "other"}});
  for (const char* kind : {"prompt", "generation"})
    families_->key_tokens.Add({{"key", "other"}, {"kind", kind}});
  families_->build_info.Add({{"version", options_.version}, {"model", options_.model}}).Set(1);
  Metrics::group_state(GroupState::kStarting);
}

Metrics::~Metrics() = default;

std::string Metrics::exposition(const EngineStatus& status,
                                const ModelFolderFindings& model_folder) const {
  std::vector<prometheus::MetricFamily> families = families_->registry.Collect();
  rank_load_.append_families(&families);
  append_status_families(status, &families);
  append_model_folder_family(model_folder, &families);
  append_process_families(&families);
  if (options_.vllm_names) append_vllm_families(options_.model, &families);
  return prometheus::TextSerializer().Serialize(families);
}

double Metrics::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

void Metrics::http_answered(const std::string& handler, const std::string& method, int status,
                            double seconds) {
  const bool known = std::find(kMethods.begin(), kMethods.end(), method) != kMethods.end();
  families_->http
      .Add({{"handler", handler},
            {"method", known ? method : "other"},
            {"status", std::to_string(status)}})
      .Increment();
  families_->http_time.Add({{"handler", handler}}, kLatencyBuckets).Observe(seconds);
}

void Metrics::request_queued(int32_t) { families_->queued.Increment(); }

void Metrics::request_refused(absl::StatusCode code) {
  families_->refused.Add({{"reason", refusal_reason(code)}}).Increment();
}

void Metrics::request_scheduled(double queue_seconds, int32_t, int32_t cached_tokens) {
  families_->queue_time.Observe(queue_seconds);
  families_->cached_tokens.Increment(cached_tokens);
}

void Metrics::first_token(double seconds_since_queued) {
  families_->first_token.Observe(seconds_since_queued);
  recent_.first_token(now(), seconds_since_queued);
}

void Metrics::next_token(double seconds_since_last) {
  families_->next_token.Observe(seconds_since_last);
  recent_.next_token(now(), seconds_since_last);
}

void Metrics::request_finished(FinishReason reason, double seconds_since_queued,
                               int32_t prompt_tokens, int32_t generated_tokens) {
  families_->finish_reason[static_cast<size_t>(reason)]->Increment();
  families_->request_time.Observe(seconds_since_queued);
  families_->request_prompt.Observe(prompt_tokens);
  families_->request_generation.Observe(generated_tokens);
}

void Metrics::request_failed(const std::string& request_id, const absl::Status& why) {
  failed_.add(request_id, std::string(why.message()));
}

int64_t Metrics::ended(FinishReason reason) const {
  return static_cast<int64_t>(families_->finish_reason[static_cast<size_t>(reason)]->Value());
}

void Metrics::tokens_computed(int64_t prompt_tokens, int64_t generated_tokens) {
  families_->prompt_tokens.Increment(static_cast<double>(prompt_tokens));
  families_->generation_tokens.Increment(static_cast<double>(generated_tokens));
  recent_.tokens(now(), prompt_tokens, generated_tokens);
}

void Metrics::prefix_lookup(int64_t queried_tokens, int64_t hit_tokens) {
  families_->prefix_queried.Increment(static_cast<double>(queried_tokens));
  families_->prefix_hit.Increment(static_cast<double>(hit_tokens));
}

void Metrics::request_preempted() { families_->preemptions.Increment(); }

void Metrics::group_restarted() { families_->restarts.Increment(); }

void Metrics::placement_replaced(const Replacement& replacement) {
  families_->replacements.Add({{"result", std::string(replacement.result)}}).Increment();
  families_->replacement_time.Observe(replacement.seconds);
  families_->replacement_pause.Observe(replacement.pause_seconds);
  families_->moved_experts.Increment(static_cast<double>(replacement.moved_experts));
  families_->moved_bytes.Increment(static_cast<double>(replacement.moved_bytes));
}

void Metrics::step_finished(double seconds, std::span<const protocol::RankTiming> ranks) {
  families_->step_time.Observe(seconds);
  rank_load_.add_step(ranks);
}

void Metrics::routing_reported(std::span<const protocol::RoutingCounts> ranks) {
  rank_load_.add_routing(ranks, now());
}

void Metrics::load(int32_t running, int32_t waiting, int32_t kv_blocks_used, int32_t kv_blocks) {
  families_->running.Set(running);
  families_->waiting.Set(waiting);
  families_->kv_usage.Set(kv_blocks > 0 ? static_cast<double>(kv_blocks_used) / kv_blocks : 0);
}

void Metrics::group_state(GroupState state) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    families_->state[i]->Set(i == static_cast<size_t>(state) ? 1 : 0);
  }
}

// As many keys as one page can show have names of their own.
std::string Metrics::key_label(const std::string& name) {
  constexpr size_t kMostKeys = 100;
  std::set<std::string>& keys = families_->keys;
  if (keys.size() < kMostKeys) keys.insert(name);
  return keys.contains(name) ? name : "other";
}

void Metrics::clients(const std::map<std::string, ClientLoad>& loads) {
  std::map<std::string, ClientLoad> by_label;
  for (const std::string& label : std::exchange(families_->loaded_keys, {})) by_label[label] = {};
  for (const auto& [name, load] : loads) {
    const std::string label = key_label(name);
    families_->loaded_keys.insert(label);
    ClientLoad& sum = by_label[label];
    sum.running += load.running;
    sum.waiting += load.waiting;
    sum.prompt_tokens += load.prompt_tokens;
    sum.generated_tokens += load.generated_tokens;
  }
  for (const auto& [label, load] : by_label) {
    families_->key_running.Add({{"key", label}}).Set(static_cast<double>(load.running));
    families_->key_waiting.Add({{"key", label}}).Set(static_cast<double>(load.waiting));
    const auto add = [&](const char* kind, int64_t tokens) {
      families_->key_tokens.Add({{"key", label}, {"kind", kind}}).Increment(static_cast<double>(tokens));
    };
    add("prompt", load.prompt_tokens);
    add("generation", load.generated_tokens);
  }
}

}  // namespace conclave::coordinator
