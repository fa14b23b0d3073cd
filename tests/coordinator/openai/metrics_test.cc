#include "coordinator/admin/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "coordinator/admin/metric_catalogue.h"

namespace conclave::coordinator {
namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

EngineStatus some_status() {
  EngineStatus status;
  status.state = GroupState::kReady;
  status.open = 3;
  status.placement_epoch = 7;
  for (int32_t rank = 0; rank < 2; ++rank) {
    RankStatus& one = status.ranks.emplace_back();
    one.rank = rank;
    one.connected = rank == 0;
    one.kv_blocks = 20;
    one.kv_blocks_used = 5;
    one.weight_bytes = 1000;
    one.kv_bytes = 300;
  }
  return status;
}

TEST(Metrics, KeysHaveGaugesThatFallBackAndAtMostAHundredNames) {
  Metrics metrics({"1", "m", false});
  std::map<std::string, EngineObserver::ClientLoad> loads;
  loads["team-a"] = {2, 5, 10, 20};
  metrics.clients(loads);
  std::string text = metrics.exposition(some_status());
  EXPECT_TRUE(has_line(text, "conclave_key_requests_running{key=\"team-a\"} 2"));
  EXPECT_TRUE(has_line(text, "conclave_key_requests_waiting{key=\"team-a\"} 5"));
  EXPECT_TRUE(has_line(text, "conclave_key_tokens_total{key=\"team-a\",kind=\"prompt\"} 10"));
  EXPECT_TRUE(has_line(text, "conclave_key_tokens_total{key=\"team-a\",kind=\"generation\"} 20"));
  loads.clear();
  for (int i = 0; i < 150; ++i) loads["k" + std::to_string(i)] = {1, 0, 1, 0};
  metrics.clients(loads);
  metrics.clients({});
  text = metrics.exposition(some_status());
  EXPECT_TRUE(has_line(text, "conclave_key_requests_waiting{key=\"team-a\"} 0"));
  EXPECT_TRUE(has_line(text, "conclave_key_tokens_total{key=\"other\",kind=\"prompt\"} 51"));
  EXPECT_TRUE(has_line(text, "conclave_key_requests_running{key=\"other\"} 0"));
  EXPECT_TRUE(has_line(text, "conclave_key_tokens_total{key=\"team-a\",kind=\"prompt\"} 10"));
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
  metrics.clients({{"team", {1, 1, 7, 3}}});
  protocol::RankTiming a;
  a.rank = 0;
  a.tokens = 5;
  a.compute_seconds = 0.25;
  a.exchange_seconds = 0.5;
  a.combine_seconds = 0.125;
  a.exchange_exposed_seconds = 0.25;
  a.traffic = {{protocol::TrafficPlan::kFixed, protocol::TrafficDirection::kDispatch, 2, 60},
               {protocol::TrafficPlan::kFixed, protocol::TrafficDirection::kReturn, 2, 40},
               {protocol::TrafficPlan::kCoherent, protocol::TrafficDirection::kDispatch, 1, 7}};
  a.expert_rows = {3, 1};
  protocol::RankTiming b = a;
  b.rank = 1;
  b.compute_seconds = 0.75;
  b.expert_rows = {1, 1};
  const std::vector<protocol::RankTiming> ranks = {a, b};
  metrics.step_finished(0.01, ranks);
  metrics.load(2, 1, 30, 40);
  metrics.group_state(GroupState::kReady);
  metrics.placement_replaced({"applied", 2.0, 0.02, 6, 4096});
  metrics.http_answered("/v1/models", "GET", 200, 0.001);
  metrics.http_answered("/v1/models", "BREW", 405, 0.001);
}

TEST(Metrics, WhatHappenedIsCounted) {
  Metrics metrics({"1.2", "m"});
  exercise(metrics);
  const std::string text = metrics.exposition(some_status());
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
        "conclave_exchange_seconds_total{phase=\"dispatch\",rank=\"0\"} 0.375",
        "conclave_exchange_seconds_total{phase=\"combine\",rank=\"0\"} 0.125",
        "conclave_exchange_bytes_total{direction=\"dispatch\",plan=\"fixed\",rank=\"0\"} 60",
        "conclave_exchange_bytes_total{direction=\"return\",plan=\"fixed\",rank=\"0\"} 40",
        "conclave_exchange_bytes_total{direction=\"dispatch\",plan=\"coherent\",rank=\"0\"} 7",
        "conclave_exchange_messages_total{direction=\"return\",plan=\"fixed\",rank=\"0\"} 2",
        "conclave_rank_wait_seconds_total{rank=\"0\"} 0.5",
        "conclave_rank_wait_seconds_total{rank=\"1\"} 0",
        "conclave_rank_slowest_steps_total{rank=\"1\"} 1",
        "conclave_rank_expert_rows_total{rank=\"0\"} 4",
        "conclave_rank_up{rank=\"0\"} 1",
        "conclave_rank_up{rank=\"1\"} 0",
        "conclave_rank_memory_bytes{kind=\"weights\",rank=\"1\"} 1000",
        "conclave_requests_open 3",
        "conclave_placement_epoch 7",
        "conclave_admission_open 1",
        "conclave_model_files_wrong 0",
        "conclave_replacements_total{result=\"applied\"} 1",
        "conclave_replacement_moved_experts_total 6",
        "conclave_expert_cache_hits_total{tier=\"host\"} 0",
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
  Metrics metrics({"1.2", "m"});
  exercise(metrics);
  const std::string text = metrics.exposition(some_status());
  const auto value_of = [&text](const std::string& series) {
    return std::stod(text.substr(text.find(series) + series.size()));
  };
  EXPECT_NEAR(value_of("conclave_expert_load_balance_ratio{layer=\"0\"} "), 2.0 / 3.0, 1e-6);
  EXPECT_NEAR(value_of("conclave_expert_load_balance_ratio{layer=\"1\"} "), 1.0, 1e-6);
  EXPECT_NEAR(value_of("conclave_expert_load_max_ratio{layer=\"0\"} "), 1.5, 1e-6);
}

// The catalogue is what is exported: nothing more, nothing less, and of the type it says.
TEST(Metrics, CatalogueAndExpositionAgree) {
  Metrics metrics({"1.2", "m"});
  exercise(metrics);
  const std::string text = metrics.exposition(some_status());
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

TEST(Metrics, ExpertCountsAddUpOverRanksAndReports) {
  Metrics metrics({"1.2", "m"});
  EXPECT_TRUE(metrics.rank_load().expert_counts().empty());
  const protocol::RoutingCounts a{4, {{0, 3}, {5, 1}}, {}, {}, {}, {}};
  const protocol::RoutingCounts b{2, {{5, 2}, {4000000000u, 7}}, {}, {}, {}, {}};
  metrics.routing_reported(std::vector{a, b});
  metrics.routing_reported(std::vector{a});
  const auto counts = metrics.rank_load().expert_counts();
  ASSERT_EQ(counts.size(), 6u);
  EXPECT_NEAR(counts[0], 6, 0.01);  // the first report has aged by microseconds
  EXPECT_NEAR(counts[5], 4, 0.01);
  EXPECT_EQ(counts[1], 0);
}

TEST(Metrics, NamesOfVllmAreCopiesAndComeOnlyWhenAskedFor) {
  Metrics plain({"1.2", "m"});
  EXPECT_EQ(plain.exposition(some_status()).find("vllm:"), std::string::npos);
  Metrics metrics({"1.2", "m", true});
  exercise(metrics);
  const std::string text = metrics.exposition(some_status());
  for (const char* line :
       {"vllm:num_requests_running{model_name=\"m\",engine=\"0\"} 2",
        "vllm:num_requests_waiting{model_name=\"m\",engine=\"0\"} 1",
        "vllm:kv_cache_usage_perc{model_name=\"m\",engine=\"0\"} 0.75",
        "vllm:request_success_total{finished_reason=\"length\",model_name=\"m\",engine=\"0\"} 1",
        "vllm:time_to_first_token_seconds_count{model_name=\"m\",engine=\"0\"} 1",
        "# TYPE vllm:inter_token_latency_seconds histogram"}) {
    EXPECT_TRUE(has_line(text, line)) << line << "\n" << text;
  }
}

// conclavectl metrics --markdown writes the page.
TEST(MetricCatalogue, DocumentationIsUpToDate) {
  std::ifstream file(std::string(CONCLAVE_SOURCE_DIR) + "/docs/metrics.md");
  const std::string page((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(page, metric_catalogue_markdown());
}

// Prometheus' rules for names: https://prometheus.io/docs/practices/naming
TEST(MetricCatalogue, NamesKeepTheRules) {
  const std::set<std::string> words = {"ms", "milliseconds", "us",  "minutes", "kb",
                                       "mb", "gb",           "mib", "percent", "perc"};
  std::set<std::string> names;
  for (const MetricDescription& metric : metric_catalogue()) {
    const std::string name(metric.name);
    EXPECT_TRUE(names.insert(name).second) << name << " is declared twice";
    EXPECT_TRUE(name.starts_with("conclave_") || name.starts_with("process_")) << name;
    std::stringstream parts(name);
    for (std::string word; std::getline(parts, word, '_');)
      EXPECT_FALSE(words.contains(word)) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos)
        << name;
    EXPECT_TRUE(metric.help.ends_with('.')) << name;
    EXPECT_FALSE(metric.group.empty()) << name;
  }
}

TEST(Metrics, EmptyStepsAndNoRanksAreFine) {
  Metrics metrics({"1.2", "m"});
  metrics.step_finished(0.001, {});
  metrics.load(0, 0, 0, 0);
  EXPECT_TRUE(has_line(metrics.exposition(some_status()), "conclave_kv_cache_usage_ratio 0"));
}

}  // namespace
}  // namespace conclave::coordinator
