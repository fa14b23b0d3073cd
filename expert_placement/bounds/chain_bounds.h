#ifndef CONCLAVE_EXPERT_PLACEMENT_BOUNDS_CHAIN_BOUNDS_H_
#define CONCLAVE_EXPERT_PLACEMENT_BOUNDS_CHAIN_BOUNDS_H_

// Proven limits on what any placement of single copies can keep. Balance caps only lower what can
// be reached, so the bounds hold with them; they do not hold for replicas.

#include <optional>

#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/solve.h"
#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// Most transition weight that can stay on a rank: for each pair of layers the heaviest b-matching
// in which an expert meets at most as many experts of the other layer as a rank has slots (network
// flow). With same-node values it bounds what stays in a node and in a rank apart. Absent if the
// clock ends first.
std::optional<double> pair_bound(const ChainInstance& instance, const SearchClock& clock);

// For few experts: enumerates the partitions of every second layer; given one, its two neighbours
// decouple into assignment problems. Tighter than pair_bound. Absent if the partitions are more
// than max_partitions or the clock ends first. known_kept: what some placement keeps (prunes).
std::optional<double> star_bound(const ChainInstance& instance, double max_partitions,
                                 const SearchClock& clock);

// Fewest messages per token and layer: |D| >= max(ceil(k / slots), k - co-located pairs), where the
// heaviest (slots - 1)-matching of a layer's pairs bounds the second; one of them may be at home.
double message_bound(const RoutingProfile& profile, int32_t ranks, int32_t slots, Plan plan);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_BOUNDS_CHAIN_BOUNDS_H_
