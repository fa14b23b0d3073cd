#include "coordinator/admin/metrics.h"

#include <gtest/gtest.h>

#include <set>

#include "coordinator/admin/metric_catalogue.h"

namespace conclave::coordinator {
namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

// Everything happens once.
void exercise(Metrics& metrics) {
  metrics.request_queued(7);
  metrics.request_refused(absl::StatusCode::kResourceExhausted);
  metrics.request_scheduled(0.002, 7, 4);
  metrics.first_token(0.004);
  metrics.next_token(0.0004);
  metrics.request_finished(FinishReason::kLength, 0.1, 7, 3);
  metrics.tokens_computed(3, 3);
  metrics.prefix_lookup(7, 4);
  metrics.request_preempted();
  metrics.group_restarted();
  protocol::RankTiming a;
  a.rank = 0;
  a.tokens = 5;
  a.exchange_seconds = 0.5;
  a.exchange_exposed_seconds = 0.25;
  a.bytes_sent = 100;
  a.messages_sent = 2;
  a.expert_rows = {3, 1};
  protocol::RankTiming b = a;
  b.rank = 1;
  b.expert_rows = {1, 1};
  const std::vector<protocol::RankTiming> ranks = {a, b};
  metrics.step_finished(0.01, ranks);
  metrics.load(2, 1, 30, 40);
  metrics.group_state(GroupState::kReady);
  metrics.http_answered("/v1/models", "GET", 200, 0.001);
  metrics.http_answered("/v1/models", "BREW", 405, 0.001);
}

TEST(Metrics, WhatHappenedIsCounted) {
  Metrics metrics("1.2", "m");
  exercise(metrics);
  const std::string text = metrics.exposition();
  for (const char* line :
       {"conclave_requests_total 1",
        "conclave_requests_refused_total{reason=\"queue_full\"} 1",
        "conclave_requests_finished_total{reason=\"length\"} 1",
        "conclave_requests_finished_total{reason=\"stop\"} 0",
        "conclave_prompt_tokens_total 3",
        "conclave_generation_tokens_total 3",
        "conclave_prompt_tokens_cached_total 4",
        "conclave_prefix_cache_queried_tokens_total 7",
        "conclave_prefix_cache_hit_tokens_total 4",
        "conclave_preemptions_total 1",
        "conclave_group_restarts_total 1",
        "conclave_requests_running 2",
        "conclave_requests_waiting 1",
        "conclave_kv_cache_usage_ratio 0.75",
        "conclave_group_state{state=\"ready\"} 1",
        "conclave_group_state{state=\"starting\"} 0",
        "conclave_rank_tokens_total{rank=\"1\"} 5",
        "conclave_exchange_seconds_total{rank=\"0\"} 0.5",
        "conclave_exchange_exposed_seconds_total{rank=\"0\"} 0.25",
        "conclave_inter_token_latency_seconds_bucket{le=\"0.0005\"} 1",
        "conclave_time_to_first_token_seconds_bucket{le=\"0.003\"} 0",
        "conclave_time_to_first_token_seconds_bucket{le=\"0.005\"} 1",
        "conclave_http_requests_total{handler=\"/v1/models\",method=\"GET\",status=\"200\"} 1",
        "conclave_http_requests_total{handler=\"/v1/models\",method=\"other\",status=\"405\"} 1"}) {
    EXPECT_TRUE(has_line(text, line)) << line << "\n" << text;
  }
}

TEST(Metrics, ExpertBalanceIsMeanOverMaximumOfTheRanks) {
  Metrics metrics("1.2", "m");
  exercise(metrics);
  const std::string text = metrics.exposition();
  const auto value_of = [&text](const std::string& series) {
    return std::stod(text.substr(text.find(series) + series.size()));
  };
  EXPECT_NEAR(value_of("conclave_expert_load_balance_ratio{layer=\"0\"} "), 2.0 / 3.0, 1e-6);
  EXPECT_NEAR(value_of("conclave_expert_load_balance_ratio{layer=\"1\"} "), 1.0, 1e-6);
}

// The catalogue is what is exported: nothing more, nothing less, and of the type it says.
TEST(Metrics, CatalogueAndExpositionAgree) {
  Metrics metrics("1.2", "m");
  exercise(metrics);
  const std::string text = metrics.exposition();
  std::set<std::string> exported;
  for (size_t at = text.find("# TYPE "); at != std::string::npos;
       at = text.find("# TYPE ", at + 1)) {
    exported.insert(text.substr(at + 7, text.find('\n', at) - at - 7));
  }
  std::set<std::string> described;
  for (const MetricDescription& metric : metric_catalogue()) {
    described.insert(std::string(metric.name) + " " + std::string(metric.type));
    EXPECT_FALSE(metric.help.empty()) << metric.name;
    EXPECT_EQ(metric.type == "counter", metric.name.ends_with("_total")) << metric.name;
  }
  EXPECT_EQ(exported, described);
}

TEST(Metrics, EmptyStepsAndNoRanksAreFine) {
  Metrics metrics("1.2", "m");
  metrics.step_finished(0.001, {});
  metrics.load(0, 0, 0, 0);
  EXPECT_TRUE(has_line(metrics.exposition(), "conclave_kv_cache_usage_ratio 0"));
}

}  // namespace
}  // namespace conclave::coordinator
