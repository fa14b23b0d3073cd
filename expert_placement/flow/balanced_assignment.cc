#include "expert_placement/flow/balanced_assignment.h"

#include <algorithm>
#include <cmath>

#include "expert_placement/flow/min_cost_flow.h"

namespace conclave::placement {

std::vector<int32_t> assign_balanced(std::span<const double> profit,
                                     std::span<const int32_t> capacity) {
  const auto bins = static_cast<int32_t>(capacity.size());
  const auto items = static_cast<int32_t>(profit.size() / capacity.size());
  double largest = 0;
  bool integral = true;
  for (double value : profit) {
    largest = std::max(largest, std::abs(value));
    integral = integral && value == std::floor(value);
  }
  // Whole counts stay whole, so that optimal means optimal.
  const double scale = integral && largest < 1e12 ? 1 : (1 << 20) / std::max(largest, 1e-300);
  FlowProblem flow;
  flow.nodes = items + bins + 1;
  flow.supply.assign(static_cast<size_t>(flow.nodes), 0);
  for (int32_t item = 0; item < items; ++item) {
    flow.supply[static_cast<size_t>(item)] = 1;
    for (int32_t bin = 0; bin < bins; ++bin) {
      const double value =
          profit[static_cast<size_t>(item) * capacity.size() + static_cast<size_t>(bin)];
      flow.arcs.push_back(
          {item, items + bin, 1, -static_cast<int64_t>(std::llround(value * scale))});
    }
  }
  for (int32_t bin = 0; bin < bins; ++bin) {
    flow.arcs.push_back({items + bin, items + bins, capacity[static_cast<size_t>(bin)], 0});
  }
  flow.supply.back() = -items;
  const FlowSolution solution = min_cost_flow(flow);
  std::vector<int32_t> bin_of(static_cast<size_t>(items), 0);
  for (size_t arc = 0; solution.feasible && arc < profit.size(); ++arc) {
    if (solution.flow[arc] > 0)
      bin_of[arc / capacity.size()] = static_cast<int32_t>(arc % capacity.size());
  }
  return bin_of;
}

}  // namespace conclave::placement
