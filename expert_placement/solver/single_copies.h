#ifndef CONCLAVE_EXPERT_PLACEMENT_SOLVER_SINGLE_COPIES_H_
#define CONCLAVE_EXPERT_PLACEMENT_SOLVER_SINGLE_COPIES_H_

// Placements with one copy of each expert: which method solves which instance.

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "expert_placement/solver/evaluation.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

struct SingleCopies {
  Assignment assignment;
  std::string solver;
  bool optimal = false;  // proven for kTransitions
};
// The solver the problem names; UNIMPLEMENTED when an exact answer is asked for and the instance is
// too large.
absl::StatusOr<SingleCopies> solve_single_copies(const Evaluation& evaluation,
                                                 const SearchClock& clock);

// Nodes first, then the ranks inside each node, then both together at a low temperature.
Assignment search_two_stages(const ChainInstance& instance, const Assignment& start,
                             const SearchClock& clock, uint64_t seed);

// The assignment next to `from` that saves most while at most `budget` experts move.
Assignment repair_single_copies(const Evaluation& evaluation, const Assignment& from,
                                int64_t budget, const SearchClock& clock);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SOLVER_SINGLE_COPIES_H_
