#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_SEARCH_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_SEARCH_H_

// Search on the chain of layers by a population of placements. Experts form groups through all
// layers that share their tokens; which groups share a rank is decided early in an annealing run,
// and no swap of single experts undoes it. So many short runs decide it in different ways, and
// pairs of them are recombined: where two placements agree they are kept, the experts on which they
// differ (whole groups, mostly) are annealed anew. That is the coarsening of a multilevel scheme,
// found by comparing solutions as in Houdayer and Martin, "Renormalization for discrete
// optimization", Phys. Rev. Lett. 83 (1999).

#include <cstdint>

#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

struct ChainSearchOptions {
  double proposals_per_second = 8e6;  // of one thread; what the clock allows at most
  int32_t threads = 1;                // each adds its part to the work
};
// From a feasible (or best balanced) start: never worse than it in (excess, kept). A function of
// seed and options as long as proposals, not the clock, end it.
Assignment search_chain(const ChainInstance& instance, const Assignment& start,
                        const SearchClock& clock, uint64_t seed,
                        const ChainSearchOptions& options = {});

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_SEARCH_H_
