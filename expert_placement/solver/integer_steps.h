#ifndef CONCLAVE_EXPERT_PLACEMENT_SOLVER_INTEGER_STEPS_H_
#define CONCLAVE_EXPERT_PLACEMENT_SOLVER_INTEGER_STEPS_H_

// Integer programs on one layer at a time, after a search: what they find is kept only if the
// evaluator says that it is better and allowed.

#include <cstdint>
#include <optional>

#include "expert_placement/ilp/chain_programs.h"
#include "expert_placement/solver/evaluation.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// Improves single copies for the problem's objective (for seconds: messages); returns the number of
// layers improved. A budget is kept for transitions and must not be given for the others.
int32_t improve_single_copies(const Evaluation& evaluation, const SearchClock& clock,
                              std::optional<MoveBudget> budget, Assignment* assignment);

// Improves a table with several copies for transitions; no rank holds more copies of a layer
// afterwards. At most `moves` copies of all layers may be where `home` has none; home null: any.
int32_t improve_copies(const Evaluation& evaluation, const SearchClock& clock,
                       const PlacementTable* home, int64_t moves, PlacementTable* table);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SOLVER_INTEGER_STEPS_H_
