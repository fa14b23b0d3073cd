#include "coordinator/admin/rank_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "coordinator/admin/family_writer.h"

namespace conclave::coordinator {
namespace {

// The expert rows of a step keep half their weight for 69 steps.
constexpr double kBalanceDecay = 0.99;
constexpr double kExpertHalfLifeSeconds = 120;
constexpr uint32_t kMostExperts = 1 << 20;  // layers times experts that a report may name
constexpr int32_t kMostRanks = 1 << 16;
constexpr std::array kPlans = {"fixed", "coherent"};                     // by protocol::TrafficPlan
constexpr std::array kDirections = {"dispatch", "return", "key_value"};  // by TrafficDirection

void add_traffic_samples(const prometheus::ClientMetric::Label& rank,
                         const RankTotals::Traffic& traffic, FamilyWriter* family) {
  for (size_t plan = 0; plan < kPlans.size(); ++plan) {
    for (size_t direction = 0; direction < kDirections.size(); ++direction) {
      family->add({rank, {"plan", kPlans[plan]}, {"direction", kDirections[direction]}},
                  traffic[plan][direction]);
    }
  }
}

bool is_rank(int32_t rank) { return rank >= 0 && rank < kMostRanks; }

}  // namespace

void RankLoad::add_step(std::span<const protocol::RankTiming> ranks) {
  const std::lock_guard lock(mutex_);
  for (const protocol::RankTiming& timing : ranks) {
    if (!is_rank(timing.rank)) continue;
    const auto index = static_cast<size_t>(timing.rank);
    if (index >= ranks_.size()) ranks_.resize(index + 1);
    Rank& rank = ranks_[index];
    RankTotals& totals = rank.totals;
    totals.rank = timing.rank;
    totals.tokens += static_cast<double>(timing.tokens);
    totals.compute_seconds += timing.compute_seconds;
    totals.dispatch_seconds += timing.exchange_seconds - timing.combine_seconds;
    totals.combine_seconds += timing.combine_seconds;
    totals.exposed_seconds += timing.exchange_exposed_seconds;
    add_traffic(timing, &totals);
    layers_ = std::max(layers_, timing.expert_rows.size());
    rank.rows.resize(layers_, 0.0);
    int64_t sum = 0;
    for (size_t layer = 0; layer < timing.expert_rows.size(); ++layer) {
      const int64_t rows = timing.expert_rows[layer];
      rank.rows[layer] = rank.rows[layer] * kBalanceDecay + static_cast<double>(rows);
      sum += rows;
    }
    totals.expert_rows += static_cast<double>(sum);
  }
  add_waits(ranks);
}

void RankLoad::add_traffic(const protocol::RankTiming& timing, RankTotals* totals) {
  for (const protocol::Traffic& traffic : timing.traffic) {
    const size_t plan = std::min(static_cast<size_t>(traffic.plan), kPlans.size() - 1);
    const size_t direction =
        std::min(static_cast<size_t>(traffic.direction), kDirections.size() - 1);
    totals->bytes[plan][direction] += static_cast<double>(traffic.bytes);
    totals->messages[plan][direction] += static_cast<double>(traffic.messages);
  }
}

void RankLoad::add_waits(std::span<const protocol::RankTiming> ranks) {
  if (ranks.size() < 2) return;
  const auto slowest = std::max_element(
      ranks.begin(), ranks.end(),
      [](const auto& a, const auto& b) { return a.compute_seconds < b.compute_seconds; });
  for (const protocol::RankTiming& timing : ranks) {
    if (!is_rank(timing.rank)) continue;
    RankTotals& totals = ranks_[static_cast<size_t>(timing.rank)].totals;
    totals.wait_seconds += slowest->compute_seconds - timing.compute_seconds;
    if (&timing == &*slowest) totals.slowest_steps += 1;
  }
}

void RankLoad::add_routing(std::span<const protocol::RoutingCounts> ranks, double now) {
  const std::lock_guard lock(mutex_);
  const double keep = std::exp2((counted_at_ - now) / kExpertHalfLifeSeconds);
  for (double& count : expert_counts_) count *= keep;
  counted_at_ = now;
  for (const protocol::RoutingCounts& rank : ranks) {
    for (const protocol::RoutingCounts::Entry& load : rank.loads) {
      if (load.index >= kMostExperts) continue;
      if (load.index >= expert_counts_.size()) expert_counts_.resize(load.index + 1);
      expert_counts_[load.index] += load.count;
    }
  }
}

std::vector<RankTotals> RankLoad::totals() const {
  const std::lock_guard lock(mutex_);
  std::vector<RankTotals> result;
  for (const Rank& rank : ranks_) {
    if (rank.totals.rank >= 0) result.push_back(rank.totals);
  }
  return result;
}

std::vector<std::vector<double>> RankLoad::expert_rows() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::vector<double>> rows(layers_);
  for (size_t layer = 0; layer < layers_; ++layer) {
    for (const Rank& rank : ranks_) {
      rows[layer].push_back(layer < rank.rows.size() ? rank.rows[layer] : 0);
    }
  }
  return rows;
}

std::vector<double> RankLoad::expert_counts() const {
  const std::lock_guard lock(mutex_);
  return expert_counts_;
}

void RankLoad::append_families(std::vector<prometheus::MetricFamily>* families) const {
  FamilyWriter tokens("conclave_rank_tokens_total", families);
  FamilyWriter compute("conclave_rank_compute_seconds_total", families);
  FamilyWriter wait("conclave_rank_wait_seconds_total", families);
  FamilyWriter slowest("conclave_rank_slowest_steps_total", families);
  FamilyWriter exchange("conclave_exchange_seconds_total", families);
  FamilyWriter exposed("conclave_exchange_exposed_seconds_total", families);
  FamilyWriter bytes("conclave_exchange_bytes_total", families);
  FamilyWriter messages("conclave_exchange_messages_total", families);
  FamilyWriter rows("conclave_rank_expert_rows_total", families);
  for (const RankTotals& rank : totals()) {
    const prometheus::ClientMetric::Label label{"rank", std::to_string(rank.rank)};
    tokens.add({label}, rank.tokens);
    compute.add({label}, rank.compute_seconds);
    wait.add({label}, rank.wait_seconds);
    slowest.add({label}, rank.slowest_steps);
    exchange.add({label, {"phase", "dispatch"}}, rank.dispatch_seconds);
    exchange.add({label, {"phase", "combine"}}, rank.combine_seconds);
    exposed.add({label}, rank.exposed_seconds);
    rows.add({label}, rank.expert_rows);
    add_traffic_samples(label, rank.bytes, &bytes);
    add_traffic_samples(label, rank.messages, &messages);
  }
  append_layers(families);
}

void RankLoad::append_layers(std::vector<prometheus::MetricFamily>* families) const {
  FamilyWriter balance("conclave_expert_load_balance_ratio", families);
  FamilyWriter most_loaded("conclave_expert_load_max_ratio", families);
  const auto rows = expert_rows();
  for (size_t layer = 0; layer < rows.size(); ++layer) {
    const std::vector<double>& ranks = rows[layer];
    const double mean =
        std::accumulate(ranks.begin(), ranks.end(), 0.0) / static_cast<double>(ranks.size());
    const double most = *std::max_element(ranks.begin(), ranks.end());
    const prometheus::ClientMetric::Label label{"layer", std::to_string(layer)};
    balance.add({label}, most > 0 ? mean / most : 1);
    most_loaded.add({label}, most > 0 ? most / mean : 1);
  }
}

}  // namespace conclave::coordinator
