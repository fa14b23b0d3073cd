#ifndef CONCLAVE_EXPERT_PLACEMENT_FLOW_MIN_COST_FLOW_H_
#define CONCLAVE_EXPERT_PLACEMENT_FLOW_MIN_COST_FLOW_H_

// Minimum-cost flow with integer data, by the network simplex method (LEMON). Its optima are
// integral.

#include <cstdint>
#include <vector>

namespace conclave::placement {

struct FlowArc {
  int32_t from = 0;
  int32_t to = 0;
  int64_t capacity = 0;
  int64_t cost = 0;  // |cost| * capacity summed over a path must stay below 2^62
};
struct FlowProblem {
  int32_t nodes = 0;
  std::vector<FlowArc> arcs;
  std::vector<int64_t> supply;  // [nodes]; negative is demand; must sum to 0
};
struct FlowSolution {
  bool feasible = false;
  int64_t cost = 0;
  std::vector<int64_t> flow;  // [arcs]
};
FlowSolution min_cost_flow(const FlowProblem& problem);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_FLOW_MIN_COST_FLOW_H_
