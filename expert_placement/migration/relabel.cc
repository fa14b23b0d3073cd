// Names of ranks and what moves between two tables.
#include <algorithm>

#include "expert_placement/flow/balanced_assignment.h"
#include "expert_placement/solve.h"

namespace conclave::placement {
namespace {

// [ranks, ranks]: copies that stay if rank a of table is called b.
std::vector<double> shared_copies(const PlacementTable& table, const PlacementTable& from) {
  const auto ranks = static_cast<size_t>(table.ranks());
  std::vector<double> shared(ranks * ranks, 0);
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      for (int32_t a : table.holders(layer, expert)) {
        for (int32_t b : from.holders(layer, expert))
          shared[static_cast<size_t>(a) * ranks + static_cast<size_t>(b)] += 1;
      }
    }
  }
  return shared;
}

struct RankRange {
  int32_t begin = 0, size = 0;
};

std::vector<RankRange> node_ranges(const ClusterSpec& cluster) {
  std::vector<RankRange> ranges;
  for (int32_t size : cluster.ranks_per_node) {
    ranges.push_back({ranges.empty() ? 0 : ranges.back().begin + ranges.back().size, size});
  }
  return ranges;
}

struct NodeMatch {
  double shared = 0;
  std::vector<int32_t> name;  // of each rank of the node
};

NodeMatch match_node(const std::vector<double>& shared, size_t ranks, RankRange a, RankRange b) {
  std::vector<double> profit;
  for (int32_t i = 0; i < a.size; ++i) {
    for (int32_t j = 0; j < b.size; ++j) {
      profit.push_back(
          shared[static_cast<size_t>(a.begin + i) * ranks + static_cast<size_t>(b.begin + j)]);
    }
  }
  NodeMatch match;
  match.name = assign_balanced(profit, std::vector<int32_t>(static_cast<size_t>(b.size), 1));
  for (size_t i = 0; i < match.name.size(); ++i) {
    match.shared += profit[i * static_cast<size_t>(b.size) + static_cast<size_t>(match.name[i])];
    match.name[i] += b.begin;
  }
  return match;
}

}  // namespace

PlacementTable align_labels(const PlacementTable& table, const PlacementTable& from,
                            const ClusterSpec& cluster) {
  const auto ranks = static_cast<size_t>(table.ranks());
  const std::vector<double> shared = shared_copies(table, from);
  const std::vector<RankRange> nodes = node_ranges(cluster);
  std::vector<double> profit;
  std::vector<NodeMatch> matches;
  for (const RankRange& a : nodes) {
    for (const RankRange& b : nodes) {
      // Nodes of different size cannot trade places.
      matches.push_back(a.size == b.size ? match_node(shared, ranks, a, b) : NodeMatch{});
      profit.push_back(a.size == b.size ? matches.back().shared : -1e9);
    }
  }
  const std::vector<int32_t> node_name =
      assign_balanced(profit, std::vector<int32_t>(nodes.size(), 1));
  std::vector<int32_t> name(ranks);
  for (size_t node = 0; node < nodes.size(); ++node) {
    const NodeMatch& match = matches[node * nodes.size() + static_cast<size_t>(node_name[node])];
    for (size_t i = 0; i < match.name.size(); ++i)
      name[static_cast<size_t>(nodes[node].begin) + i] = match.name[i];
  }
  std::vector<std::vector<std::vector<int32_t>>> holders(static_cast<size_t>(table.layers()));
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      std::vector<int32_t> renamed;
      for (int32_t rank : table.holders(layer, expert))
        renamed.push_back(name[static_cast<size_t>(rank)]);
      holders[static_cast<size_t>(layer)].push_back(std::move(renamed));
    }
  }
  const auto layers = table.moe_layers();
  PlacementTable aligned = *PlacementTable::from_holders({layers.begin(), layers.end()},
                                                         table.experts(), table.ranks(), holders);
  aligned.set_model_fingerprint(table.model_fingerprint());
  aligned.set_profile_id(table.profile_id());
  aligned.set_epoch(table.epoch());
  return aligned;
}

int64_t moved_experts(const PlacementTable& from, const PlacementTable& table) {
  int64_t moved = 0;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      const auto before = from.holders(layer, expert);
      for (int32_t rank : table.holders(layer, expert)) {
        moved += std::find(before.begin(), before.end(), rank) == before.end();
      }
    }
  }
  return moved;
}

}  // namespace conclave::placement
