#ifndef CONCLAVE_EXPERT_PLACEMENT_FLOW_TOPOLOGY_FLOW_H_
#define CONCLAVE_EXPERT_PLACEMENT_FLOW_TOPOLOGY_FLOW_H_

// Placement when every expert's cost depends on its own rank alone, e.g. hops from the rank that
// runs the layer's attention, weighted with how often the expert is used (after Sivtsov, Katrutsa
// and Oseledets, arXiv 2508.09229, who solve it as an integer program). It is a minimum-cost flow,
// so the optimum is integral.

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "expert_placement/sweeps/chain_instance.h"

namespace conclave::placement {

struct TopologyProblem {
  int32_t layers = 0;
  int32_t experts = 0;
  int32_t ranks = 0;
  std::span<const double> cost;  // [layers, E, ranks], >= 0
  int32_t layer_slots = 0;       // experts of one layer on a rank
  int64_t total_slots = 0;       // experts of all layers on a rank
};
struct TopologyPlacement {
  Assignment assignment;
  double cost = 0;
};
// Proven optimal up to costs rounded to 2^-24 of the largest. INVALID_ARGUMENT if the slots are too
// few.
absl::StatusOr<TopologyPlacement> place_by_topology(const TopologyProblem& problem);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_FLOW_TOPOLOGY_FLOW_H_
