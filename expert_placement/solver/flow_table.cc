#include "expert_placement/solver/flow_table.h"

#include <algorithm>
#include <functional>

#include "expert_placement/baselines/baselines.h"
#include "expert_placement/flow/topology_flow.h"

namespace conclave::placement {
namespace {

constexpr double kMostArcs = 1e6;

// [ranks]: mean seconds that a byte from anywhere takes to the rank.
std::vector<double> seconds_to(const ClusterSpec& cluster) {
  std::vector<double> seconds;
  for (int32_t to = 0; to < cluster.ranks(); ++to) {
    double sum = 0;
    for (int32_t from = 0; from < cluster.ranks(); ++from)
      sum += from == to ? 0 : 1 / cluster.link(from, to).bytes_per_s;
    seconds.push_back(sum / cluster.ranks());
  }
  return seconds;
}

}  // namespace

bool flow_matters(const Evaluation& evaluation) {
  const auto& nodes = evaluation.problem().cluster.ranks_per_node;
  const bool even = std::adjacent_find(nodes.begin(), nodes.end(), std::not_equal_to<>()) == nodes.end();
  const auto arcs = static_cast<double>(evaluation.instance().loads.size()) * evaluation.instance().ranks();
  return !even && arcs < kMostArcs;
}

PlacementTable flow_table(const Evaluation& evaluation) {
  const ChainInstance& instance = evaluation.instance();
  const std::vector<double> seconds = seconds_to(evaluation.problem().cluster);
  std::vector<double> cost;
  for (const double load : instance.loads) {
    for (const double each : seconds) cost.push_back(load * each);
  }
  TopologyProblem problem{instance.layers, instance.experts, instance.ranks(), cost};
  problem.layer_slots = evaluation.slots();
  problem.total_slots = int64_t{evaluation.slots()} * instance.layers;
  const auto placed = place_by_topology(problem);
  // Slots for every expert are there by construction.
  return placed.ok() ? evaluation.table_of(placed->assignment)
                     : contiguous_table(*evaluation.problem().profile, instance.ranks());
}

}  // namespace conclave::placement
