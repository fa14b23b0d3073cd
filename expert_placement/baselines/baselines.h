#ifndef CONCLAVE_EXPERT_PLACEMENT_BASELINES_BASELINES_H_
#define CONCLAVE_EXPERT_PLACEMENT_BASELINES_BASELINES_H_

// Placements to compare with.

#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

PlacementTable contiguous_table(const RoutingProfile& profile, int32_t ranks);
// Expert e on rank e mod ranks.
PlacementTable round_robin_table(const RoutingProfile& profile, int32_t ranks);
// DeepSeek's expert-parallel load balancer, its global form: `extra` more copies in a layer go one
// by one to the expert with the largest load per copy; copies are then packed, heaviest first, each
// to the lightest rank that has a slot and not yet this expert. Balance only.
PlacementTable eplb_table(const RoutingProfile& profile, int32_t ranks, int32_t extra);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_BASELINES_BASELINES_H_
