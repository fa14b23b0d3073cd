#ifndef CONCLAVE_COORDINATOR_PLACEMENT_PROFILE_TRAFFIC_H_
#define CONCLAVE_COORDINATOR_PLACEMENT_PROFILE_TRAFFIC_H_

#include <optional>

#include "coordinator/engine/plan_choice.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::coordinator {

// What the profile's sampled rows (synthetic ones where it has none) send under the table, with homes
// matched, counted by the evaluator that solvers use. Absent for an empty profile.
std::optional<RecordedTraffic> traffic_of_profile(const placement::RoutingProfile& profile,
                                                  const placement::PlacementTable& table);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_PLACEMENT_PROFILE_TRAFFIC_H_
