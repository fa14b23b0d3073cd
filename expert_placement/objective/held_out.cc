#include "expert_placement/objective/held_out.h"

#include <algorithm>

#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/traffic.h"

namespace conclave::placement {

HeldOutFigures judge_held_out(const RoutingRows& test, const PlacementTable& table,
                              int64_t look_until) {
  HeldOutFigures figures;
  const Traffic all =
      count_traffic(test, table, Plan::kCoherent, round_robin_homes(test, table.ranks()));
  figures.crossing_share = all.crossing_share();
  const std::vector<double> balance = all.balance();
  if (!balance.empty()) figures.worst_balance = *std::max_element(balance.begin(), balance.end());
  RowsByPosition rows = split_at_position(test, look_until);
  for (; rows.after.rows() == 0 && look_until > 1; look_until /= 2)
    rows = split_at_position(test, look_until / 2);
  const std::vector<int32_t> matched = matched_homes(rows.before, rows.after, table);
  const auto count = [&](Plan plan, const std::vector<int32_t>& homes) {
    return count_traffic(rows.after, table, plan, homes);
  };
  const Traffic fixed = count(Plan::kFixed, matched), coherent = count(Plan::kCoherent, matched);
  figures.fixed_round_robin =
      count(Plan::kFixed, round_robin_homes(rows.after, table.ranks())).messages_per_token_layer();
  figures.fixed_matched = fixed.messages_per_token_layer();
  figures.coherent_matched = coherent.messages_per_token_layer();
  const double token_layers = static_cast<double>(rows.after.rows()) * test.layers;
  if (token_layers > 0) {
    figures.fixed_rows = fixed.bytes(1) / token_layers;
    figures.coherent_rows = coherent.bytes(1) / token_layers;
  }
  return figures;
}

}  // namespace conclave::placement
