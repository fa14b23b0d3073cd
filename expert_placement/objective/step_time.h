#ifndef CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_STEP_TIME_H_
#define CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_STEP_TIME_H_

// Predicted time of one MoE layer from counted traffic: links, load and activated experts. The
// exchange is taken as variable-size (nothing padded) and each rank as able to send and receive at
// once.

#include "expert_placement/cluster/cluster_spec.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/solve.h"

namespace conclave::placement {

// Seconds of one MoE layer for a step of ExpertCost::batch_tokens tokens, mean over layers.
struct LayerTime {
  double dispatch = 0;
  double combine = 0;
  double experts = 0;  // the slower of arithmetic and reading weights, of the fullest rank
  double total() const { return dispatch + combine + experts; }
};
LayerTime layer_time(const Traffic& traffic, const RoutingProfile& profile,
                     const PlacementTable& table, const ClusterSpec& cluster,
                     const ExpertCost& cost);

// Time of one leg: rows_between [ranks, ranks] scaled by `scale`; the slowest rank counts.
double leg_time(const std::vector<int64_t>& rows_between, double scale, double row_bytes,
                const ClusterSpec& cluster);

// Experts of a rank in a layer that at least one of `tokens` tokens uses, expected.
double activated_experts(const RoutingProfile& profile, const PlacementTable& table, int32_t layer,
                         int32_t rank, double tokens);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_STEP_TIME_H_
