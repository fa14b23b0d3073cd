#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_RECOMBINE_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_RECOMBINE_H_

// What two placements of one instance say about each other.

#include <cstdint>

#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/sweeps/local_search.h"

namespace conclave::placement {

// Renames the ranks of `other` so that as many experts as possible are where `model` has them. Only
// ranks that can trade places do: with values inside nodes nothing is renamed, and a rank keeps its
// number of slots.
void align_ranks(const ChainInstance& instance, const Assignment& model, Assignment* other);

// The experts that the two have on different ranks.
FreeExperts differing(const ChainInstance& instance, const Assignment& a, const Assignment& b);
int64_t count(const FreeExperts& experts);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_RECOMBINE_H_
