#include <algorithm>
#include <numeric>

#include "expert_placement/solver/single_copies.h"
#include "expert_placement/sweeps/chain_search.h"
#include "expert_placement/sweeps/local_search.h"

namespace conclave::placement {
namespace {

// One rank for each node, with the slots and caps of its ranks together.
ChainInstance node_instance(const ChainInstance& instance) {
  ChainInstance nodes = instance;
  nodes.same_node_value = 0;
  const auto count = static_cast<size_t>(instance.node_of.back()) + 1;
  nodes.slots.assign(count, 0);
  nodes.node_of.assign(count, 0);
  std::vector<int32_t> ranks(count, 0);
  for (size_t rank = 0; rank < instance.slots.size(); ++rank) {
    nodes.slots[static_cast<size_t>(instance.node_of[rank])] += instance.slots[rank];
    ++ranks[static_cast<size_t>(instance.node_of[rank])];
  }
  // Ranks share one cap; the smallest node's room is what every node can rely on.
  for (double& cap : nodes.cap) cap *= *std::min_element(ranks.begin(), ranks.end());
  return nodes;
}

// The experts of one node as an instance of its own. Layers hold different numbers of real experts,
// so all are filled up to the node's slots with experts that nobody uses.
struct NodePart {
  ChainInstance instance;
  std::vector<std::vector<int32_t>>
      expert;  // [layers][experts of the part] -> expert, -1 for a filler
  int32_t first_rank = 0;
};

NodePart part_of(const ChainInstance& whole, const Assignment& on_nodes, int32_t node) {
  NodePart part;
  const auto first = std::lower_bound(whole.node_of.begin(), whole.node_of.end(), node);
  const auto last = std::upper_bound(whole.node_of.begin(), whole.node_of.end(), node);
  part.first_rank = static_cast<int32_t>(first - whole.node_of.begin());
  part.instance.slots.assign(whole.slots.begin() + part.first_rank,
                             whole.slots.begin() + (last - whole.node_of.begin()));
  part.instance.node_of.assign(part.instance.slots.size(), 0);
  part.instance.cap = whole.cap;
  part.instance.layers = whole.layers;
  part.instance.experts =
      std::accumulate(part.instance.slots.begin(), part.instance.slots.end(), 0);
  const auto experts = static_cast<size_t>(part.instance.experts);
  for (int32_t layer = 0; layer < whole.layers; ++layer) {
    std::vector<int32_t> here;
    for (int32_t e = 0; e < whole.experts; ++e) {
      if (on_nodes.at(layer, e) == node) here.push_back(e);
    }
    here.resize(experts, -1);
    for (int32_t e : here) part.instance.loads.push_back(e < 0 ? 0 : whole.load(layer, e));
    part.expert.push_back(std::move(here));
  }
  for (int32_t layer = 0; layer + 1 < whole.layers; ++layer) {
    for (int32_t from : part.expert[static_cast<size_t>(layer)]) {
      for (int32_t to : part.expert[static_cast<size_t>(layer) + 1]) {
        part.instance.weights.push_back(from < 0 || to < 0 ? 0 : whole.weight(layer, from)[to]);
      }
    }
  }
  return part;
}

Assignment balanced(const ChainInstance& instance) {
  Assignment start{instance.experts, {}};
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    const auto first = instance.loads.begin() + static_cast<int64_t>(layer) * instance.experts;
    const BalancedLayer even = balance_layer({first, first + instance.experts}, instance.slots);
    start.rank_of.insert(start.rank_of.end(), even.rank_of.begin(), even.rank_of.end());
  }
  return start;
}

}  // namespace

Assignment search_two_stages(const ChainInstance& instance, const Assignment& start,
                             const SearchClock& clock, uint64_t seed) {
  const ChainInstance nodes = node_instance(instance);
  const Assignment on_nodes = search_chain(nodes, balanced(nodes), clock.part(0.4), seed);
  Assignment joined = start;
  const auto count = nodes.ranks();
  for (int32_t node = 0; node < count && !clock.expired(); ++node) {
    const NodePart part = part_of(instance, on_nodes, node);
    const Assignment inside = search_chain(part.instance, balanced(part.instance),
                                           clock.part(0.6 / (count - node)), seed);
    for (int32_t layer = 0; layer < instance.layers; ++layer) {
      for (int32_t i = 0; i < part.instance.experts; ++i) {
        const int32_t expert = part.expert[static_cast<size_t>(layer)][static_cast<size_t>(i)];
        if (expert >= 0) joined.at(layer, expert) = part.first_rank + inside.at(layer, i);
      }
    }
    if (node + 1 < count && clock.expired()) return start;
  }
  if (!obeys_slots(instance, joined)) return start;
  ChainState state(instance, joined);
  AnnealOptions cool;
  cool.hot = 0.03;
  cool.seed = seed;
  cool.proposals = static_cast<int64_t>(5e5 * clock.seconds());
  anneal(cool, all_experts(instance), clock.part(0.7), &state);
  repair(&state);
  polish(clock, &state);
  const Assignment found = state.assignment();
  const bool better = excess_load(instance, found) <= excess_load(instance, start) &&
                      kept_weight(instance, found) > kept_weight(instance, start);
  return better ? found : start;
}

}  // namespace conclave::placement
