#include "expert_placement/flow/topology_flow.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "expert_placement/flow/min_cost_flow.h"

namespace conclave::placement {

absl::StatusOr<TopologyPlacement> place_by_topology(const TopologyProblem& problem) {
  const auto [layers, experts, ranks] = std::tuple(problem.layers, problem.experts, problem.ranks);
  const double largest =
      problem.cost.empty() ? 0 : *std::max_element(problem.cost.begin(), problem.cost.end());
  const double scale = largest > 0 ? (1 << 24) / largest : 1;
  // expert -> (layer, rank) with the layer's slots -> rank with all slots -> sink
  const int32_t items = layers * experts, cells = layers * ranks;
  FlowProblem flow;
  flow.nodes = items + cells + ranks + 1;
  flow.supply.assign(static_cast<size_t>(flow.nodes), 0);
  flow.supply.back() = -items;
  for (int32_t item = 0; item < items; ++item) {
    flow.supply[static_cast<size_t>(item)] = 1;
    for (int32_t rank = 0; rank < ranks; ++rank) {
      const double cost = problem.cost[static_cast<size_t>(item) * static_cast<size_t>(ranks) +
                                       static_cast<size_t>(rank)];
      flow.arcs.push_back({item, items + item / experts * ranks + rank, 1,
                           static_cast<int64_t>(std::llround(cost * scale))});
    }
  }
  for (int32_t cell = 0; cell < cells; ++cell) {
    flow.arcs.push_back({items + cell, items + cells + cell % ranks, problem.layer_slots, 0});
  }
  for (int32_t rank = 0; rank < ranks; ++rank) {
    flow.arcs.push_back({items + cells + rank, items + cells + ranks, problem.total_slots, 0});
  }
  const FlowSolution solution = min_cost_flow(flow);
  if (!solution.feasible) {
    return absl::InvalidArgumentError(
        absl::StrCat(layers, " layers of ", experts, " experts do not fit ", ranks, " ranks with ",
                     problem.layer_slots, " slots in a layer and ", problem.total_slots,
                     " in all; use more ranks or slots"));
  }
  TopologyPlacement placement{{experts, std::vector<int32_t>(static_cast<size_t>(items), 0)}, 0};
  for (size_t arc = 0; arc < problem.cost.size(); ++arc) {
    if (solution.flow[arc] == 0) continue;
    placement.assignment.rank_of[arc / static_cast<size_t>(ranks)] =
        static_cast<int32_t>(arc % static_cast<size_t>(ranks));
    placement.cost += problem.cost[arc];
  }
  return placement;
}

}  // namespace conclave::placement
