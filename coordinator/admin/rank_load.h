#ifndef CONCLAVE_COORDINATOR_ADMIN_RANK_LOAD_H_
#define CONCLAVE_COORDINATOR_ADMIN_RANK_LOAD_H_

// What ranks report of each step, added up. A step costs some plain additions per rank and layer;
// metrics are made of them when somebody scrapes.

#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "protocol/step_plan.h"

namespace conclave::coordinator {

// What one rank did since the start.
struct RankTotals {
  int32_t rank = -1;  // -1: never heard of
  double tokens = 0, expert_rows = 0;
  double compute_seconds = 0, wait_seconds = 0, slowest_steps = 0;
  double dispatch_seconds = 0, combine_seconds = 0, exposed_seconds = 0;
  // By protocol::TrafficPlan, then protocol::TrafficDirection.
  using Traffic = std::array<std::array<double, 3>, 2>;
  Traffic bytes{}, messages{};
};

// Thread-safe.
class RankLoad {
 public:
  void add_step(std::span<const protocol::RankTiming> ranks);
  void add_routing(std::span<const protocol::RoutingCounts> ranks, double now);

  std::vector<RankTotals> totals() const;
  // [layers][ranks]: expert rows of each rank over about the last hundred steps.
  std::vector<std::vector<double>> expert_rows() const;
  // [layer * experts + expert]: rows that chose the expert, the last minutes weighing most; empty
  // until ranks report it.
  std::vector<double> expert_counts() const;
  void append_families(std::vector<prometheus::MetricFamily>* families) const;

 private:
  struct Rank {
    RankTotals totals;
    std::vector<double> rows;  // [layers], decayed
  };
  void add_waits(std::span<const protocol::RankTiming> ranks);  // mutex_ held
  static void add_traffic(const protocol::RankTiming& timing, RankTotals* totals);
  void append_layers(std::vector<prometheus::MetricFamily>* families) const;

  mutable std::mutex mutex_;
  std::vector<Rank> ranks_;  // by rank
  size_t layers_ = 0;
  std::vector<double> expert_counts_;
  double counted_at_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_RANK_LOAD_H_
