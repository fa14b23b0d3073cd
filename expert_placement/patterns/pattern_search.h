#ifndef CONCLAVE_EXPERT_PLACEMENT_PATTERNS_PATTERN_SEARCH_H_
#define CONCLAVE_EXPERT_PLACEMENT_PATTERNS_PATTERN_SEARCH_H_

// Fewest messages for sampled rows: annealed swaps on PatternState, homes matched anew in between.

#include <cstdint>

#include "expert_placement/patterns/pattern_state.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

struct PatternSearchOptions {
  Plan plan = Plan::kFixed;
  uint64_t seed = 1;
  double proposals_per_second = 5e5;
  double hot = 0.08;  // first temperature, in units of the mean number of rows per expert
  double cold = 0.001;
};
// Never worse than start in (excess load, messages). Blocks until the clock ends at the latest.
Assignment search_patterns(const ChainInstance& instance, const RoutingRows& rows,
                           const Assignment& start, const SearchClock& clock,
                           const PatternSearchOptions& options);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_PATTERNS_PATTERN_SEARCH_H_
