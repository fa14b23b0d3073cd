#include "coordinator/placement/profile_traffic.h"

#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/profile/synthetic_rows.h"

namespace conclave::coordinator {

std::optional<RecordedTraffic> traffic_of_profile(const placement::RoutingProfile& profile,
                                                  const placement::PlacementTable& table) {
  const placement::RoutingRows rows = placement::rows_for_search(profile, /*seed=*/1);
  if (rows.rows() == 0) return std::nullopt;
  const std::vector<int32_t> homes = placement::matched_homes(rows, rows, table);
  const auto count = [&](placement::Plan plan) {
    return placement::count_traffic(rows, table, plan, homes);
  };
  const placement::Traffic fixed = count(placement::Plan::kFixed);
  const placement::Traffic coherent = count(placement::Plan::kCoherent);
  const double token_layers = static_cast<double>(rows.rows()) * rows.layers;
  const auto each = [token_layers](int64_t n) { return static_cast<double>(n) / token_layers; };
  return RecordedTraffic{each(fixed.dispatched), each(fixed.returned_rows),
                         each(coherent.dispatched), each(coherent.returned_rows),
                         each(coherent.moves)};
}

}  // namespace conclave::coordinator
