#include "expert_placement/homes/homes.h"

#include <algorithm>
#include <map>

#include "expert_placement/flow/balanced_assignment.h"

namespace conclave::placement {
namespace {

std::map<int32_t, int32_t> index_sequences(const RoutingRows& rows) {
  std::map<int32_t, int32_t> index;
  for (int32_t sequence : rows.sequence)
    index.emplace(sequence, static_cast<int32_t>(index.size()));
  return index;
}

// profit[sequence, rank]: (row, layer) pairs of the sequence that find an expert on the rank.
std::vector<double> local_hits(const RoutingRows& seen, const std::map<int32_t, int32_t>& index,
                               const PlacementTable& table) {
  const auto ranks = static_cast<size_t>(table.ranks());
  std::vector<double> profit(index.size() * ranks, 0);
  std::vector<int64_t> last(ranks, -1);
  for (int64_t row = 0; row < seen.rows(); ++row) {
    const auto at = index.find(seen.sequence[static_cast<size_t>(row)]);
    if (at == index.end()) continue;
    for (int32_t layer = 0; layer < seen.layers; ++layer) {
      const int64_t stamp = row * seen.layers + layer;
      for (uint16_t expert : seen.at(row, layer)) {
        for (int32_t rank : table.holders(layer, expert)) {
          if (last[static_cast<size_t>(rank)] == stamp) continue;
          last[static_cast<size_t>(rank)] = stamp;
          profit[static_cast<size_t>(at->second) * ranks + static_cast<size_t>(rank)] += 1;
        }
      }
    }
  }
  return profit;
}

}  // namespace

RowsByPosition split_at_position(const RoutingRows& rows, int64_t position) {
  RowsByPosition split{{rows.layers, rows.experts, rows.top_k, {}, {}},
                       {rows.layers, rows.experts, rows.top_k, {}, {}}};
  const size_t width = static_cast<size_t>(rows.layers) * static_cast<size_t>(rows.top_k);
  int64_t at = 0;
  for (size_t row = 0; row < rows.sequence.size(); ++row) {
    at = row > 0 && rows.sequence[row] == rows.sequence[row - 1] ? at + 1 : 0;
    RoutingRows& part = at < position ? split.before : split.after;
    part.sequence.push_back(rows.sequence[row]);
    const auto begin = rows.chosen.begin() + static_cast<int64_t>(row * width);
    part.chosen.insert(part.chosen.end(), begin, begin + static_cast<int64_t>(width));
  }
  return split;
}

std::vector<int32_t> round_robin_homes(const RoutingRows& rows, int32_t ranks) {
  std::map<int32_t, int32_t> index;
  std::vector<int32_t> homes;
  homes.reserve(rows.sequence.size());
  for (int32_t sequence : rows.sequence) {
    homes.push_back(index.emplace(sequence, static_cast<int32_t>(index.size())).first->second %
                    ranks);
  }
  return homes;
}

std::vector<int32_t> matched_homes(const RoutingRows& seen, const RoutingRows& rows,
                                   const PlacementTable& table) {
  const std::map<int32_t, int32_t> index = index_sequences(rows);
  const auto ranks = static_cast<size_t>(table.ranks());
  std::vector<int32_t> homes(rows.sequence.size(), 0);
  if (index.empty()) return homes;
  const auto room = static_cast<int32_t>((index.size() + ranks - 1) / ranks);
  const std::vector<int32_t> rank_of =
      assign_balanced(local_hits(seen, index, table), std::vector<int32_t>(ranks, room));
  for (size_t row = 0; row < homes.size(); ++row) {
    homes[row] = rank_of[static_cast<size_t>(index.at(rows.sequence[row]))];
  }
  return homes;
}

}  // namespace conclave::placement
