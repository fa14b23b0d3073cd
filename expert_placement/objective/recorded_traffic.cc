#include "expert_placement/objective/recorded_traffic.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "expert_placement/objective/traffic.h"

namespace conclave::placement {
namespace {

class RunCounter {
 public:
  RunCounter(const RoutingRecording& recording, const PlacementTable* other)
      : recording_(recording), other_(other) {}

  RunTraffic count() {
    const size_t tables = other_ != nullptr ? 1 : recording_.tables.size();
    for (size_t table = 0; table < tables; ++table) {
      count_exchange(table, Plan::kFixed);
      count_exchange(table, Plan::kCoherent);
    }
    count_key_values();
    return traffic_;
  }

 private:
  const PlacementTable& table_of(size_t row) const {
    return other_ != nullptr ? *other_
                             : recording_.tables[static_cast<size_t>(recording_.table[row])];
  }
  bool is_coherent(size_t row) const { return recording_.plan[row] == RowPlan::kCoherent; }

  // Dispatch and return of the rows that one table sent under one plan.
  void count_exchange(size_t table, Plan plan) {
    const RoutingRows& all = recording_.rows;
    RoutingRows rows{all.layers, all.experts, all.top_k, {}, {}};
    const size_t width = static_cast<size_t>(all.layers) * static_cast<size_t>(all.top_k);
    std::vector<int32_t> homes;
    for (size_t row = 0; row < all.sequence.size(); ++row) {
      const bool here = other_ != nullptr || static_cast<size_t>(recording_.table[row]) == table;
      if (!here || is_coherent(row) != (plan == Plan::kCoherent)) continue;
      rows.sequence.push_back(all.sequence[row]);
      homes.push_back(recording_.home[row]);
      const auto first = all.chosen.begin() + static_cast<int64_t>(row * width);
      rows.chosen.insert(rows.chosen.end(), first, first + static_cast<int64_t>(width));
    }
    const PlacementTable& in_force = other_ != nullptr ? *other_ : recording_.tables[table];
    const Traffic counted = count_traffic(rows, in_force, plan, homes);
    const WireSizes& wire = recording_.wire;
    const size_t index = plan == Plan::kCoherent ? 1 : 0;
    traffic_.rows[index] += counted.rows;
    TrafficSum& out = traffic_.sums[index][RunTraffic::kDispatch];
    out.messages += counted.dispatched;
    out.bytes += counted.dispatched * wire.row + counted.moves * wire.state;
    TrafficSum& back = traffic_.sums[index][RunTraffic::kReturn];
    back.messages += counted.returned;
    back.bytes += counted.returned_rows * wire.row;
  }

  // Once a step, each rank that attended to a row sends the K/V of its rows to every other.
  void count_key_values() {
    std::map<int64_t, std::set<int32_t>> publishing;  // by step
    TrafficSum& sum = traffic_.sums[1][RunTraffic::kKeyValue];
    for (size_t row = 0; row < recording_.plan.size(); ++row) {
      const int64_t peers = table_of(row).ranks() - 1;
      if (recording_.plan[row] == RowPlan::kFixed || peers == 0) continue;
      sum.bytes += peers * recording_.layers * recording_.wire.key_value;
      add_visits(row, &publishing[recording_.step[row]]);
    }
    for (const auto& [step, ranks] : publishing) {
      sum.messages += static_cast<int64_t>(ranks.size()) * (recording_.tables.front().ranks() - 1);
    }
  }

  // The ranks on which the row's attention ran: in each layer where the MoE layers before left it.
  void add_visits(size_t row, std::set<int32_t>* ranks) const {
    int32_t at = recording_.home[row];
    ranks->insert(at);
    if (!is_coherent(row)) return;
    const PlacementTable& table = table_of(row);
    for (int32_t m = 0; m < table.layers(); ++m) {
      at = table.serving_rank(m, recording_.rows.leader(static_cast<int64_t>(row), m), at);
      const bool last = table.moe_layers()[static_cast<size_t>(m)] == recording_.layers - 1;
      if (!last) ranks->insert(at);
    }
  }

  const RoutingRecording& recording_;
  const PlacementTable* other_;
  RunTraffic traffic_;
};

}  // namespace

absl::StatusOr<RunTraffic> count_recorded(const RoutingRecording& recording,
                                          const PlacementTable* other) {
  if (recording.tables.empty()) return RunTraffic{};
  const PlacementTable& first = recording.tables.front();
  if (other != nullptr &&
      (other->layers() != first.layers() || other->experts() != first.experts() ||
       other->ranks() != first.ranks())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the table is of ", other->layers(), " MoE layers of ", other->experts(),
                     " experts on ", other->ranks(), " ranks; the run had ", first.layers(), " of ",
                     first.experts(), " on ", first.ranks()));
  }
  return RunCounter(recording, other).count();
}

}  // namespace conclave::placement
