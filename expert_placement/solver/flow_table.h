#ifndef CONCLAVE_EXPERT_PLACEMENT_SOLVER_FLOW_TABLE_H_
#define CONCLAVE_EXPERT_PLACEMENT_SOLVER_FLOW_TABLE_H_

#include "expert_placement/solver/evaluation.h"

namespace conclave::placement {

// Where each expert's own rows spend the fewest seconds on links when tokens come from all ranks
// alike: separable, hence a minimum-cost flow and optimal for what it counts. It knows neither
// affinity nor balance; on a cluster of equal nodes all placements cost the same.
PlacementTable flow_table(const Evaluation& evaluation);
// Nodes differ in size, and the flow is a matter of a second.
bool flow_matters(const Evaluation& evaluation);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SOLVER_FLOW_TABLE_H_
