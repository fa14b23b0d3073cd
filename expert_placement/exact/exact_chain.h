#ifndef CONCLAVE_EXPERT_PLACEMENT_EXACT_EXACT_CHAIN_H_
#define CONCLAVE_EXPERT_PLACEMENT_EXACT_EXACT_CHAIN_H_

// Instances that can be solved to proven optimality without a MILP solver.

#include <optional>

#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// As many ranks as experts, one slot each: every pair of layers is an assignment problem of its
// own. Absent for other instances and for clusters of several nodes, where the pairs do not
// decouple.
std::optional<Assignment> solve_one_expert_per_rank(const ChainInstance& instance);

// Dynamic programming along the layers over the placements of one layer that obey slots and cap.
// Absent if a layer has more than max_states of them or none, or if the clock ends first.
std::optional<Assignment> solve_by_states(const ChainInstance& instance, int64_t max_states,
                                          const SearchClock& clock);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_EXACT_EXACT_CHAIN_H_
