#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_LOCAL_SEARCH_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_LOCAL_SEARCH_H_

// Steps of local search on the chain of layers: annealed swaps (Kirkpatrick et al. 1983), layer
// sweeps (one layer as a balanced assignment with its neighbours fixed), suffix relabelling.

#include <cstdint>
#include <vector>

#include "expert_placement/sweeps/chain_state.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

struct AnnealOptions {
  int64_t proposals = 0;    // the schedule's length
  double hot = 1.0;         // first temperature, in units of the mean attraction
  double cold = 0.004;      // last one
  double load_price = 1.0;  // what a unit of load above the cap costs at the end, in units of kept
                            // weight per unit of load
  uint64_t seed = 1;
};
// [layers]: the experts of each layer that may change places, with each other or with a free slot.
using FreeExperts = std::vector<std::vector<int32_t>>;
FreeExperts all_experts(const ChainInstance& instance);

// Annealed swaps of free experts; excess load is priced, so the result may be slightly infeasible:
// repair() it.
void anneal(const AnnealOptions& options, const FreeExperts& free, const SearchClock& clock,
            ChainState* state);
// Swaps that lower the excess load at the least loss, until there is none or no swap helps.
bool repair(ChainState* state);
// Swaps and layer sweeps that gain without adding excess, until none does or the clock ends.
void polish(const SearchClock& clock, ChainState* state);
// Renames the ranks of all layers after each cut where that keeps more. Rank loads must fit either
// way.
void relabel_suffixes(ChainState* state);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_LOCAL_SEARCH_H_
