#ifndef CONCLAVE_EXPERT_PLACEMENT_REPLICAS_REPLICA_SEARCH_H_
#define CONCLAVE_EXPERT_PLACEMENT_REPLICAS_REPLICA_SEARCH_H_

#include <cstdint>

#include "expert_placement/replicas/replica_state.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// Fills the free memory with the copies that save most (lazy greedy), then exchanges copies between
// ranks and relocates extra ones, all judged by the rows themselves. Never worsens the state's cost
// or excess.
void search_replicas(const SearchClock& clock, uint64_t seed, double proposals_per_second,
                     ReplicaState* state);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_REPLICAS_REPLICA_SEARCH_H_
