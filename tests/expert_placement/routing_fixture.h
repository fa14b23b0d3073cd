#ifndef CONCLAVE_TESTS_EXPERT_PLACEMENT_ROUTING_FIXTURE_H_
#define CONCLAVE_TESTS_EXPERT_PLACEMENT_ROUTING_FIXTURE_H_

// Random routing with some affinity, random tables, and counts made the slow, obvious way.

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/solve.h"
#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

inline std::vector<int32_t> layer_numbers(int32_t layers) {
  std::vector<int32_t> numbers(static_cast<size_t>(layers));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// Leading experts mostly follow a hidden permutation; sequences of `length` rows.
inline RoutingRows random_rows(int32_t layers, int32_t experts, int32_t top_k, int32_t rows,
                               uint64_t seed, int32_t length = 16) {
  std::mt19937_64 random(seed);
  const auto below = [&](int32_t n) {
    return static_cast<int32_t>(random() % static_cast<uint64_t>(n));
  };
  std::vector<std::vector<int32_t>> next(static_cast<size_t>(layers), layer_numbers(experts));
  for (auto& permutation : next) {
    for (size_t i = permutation.size(); i > 1; --i)
      std::swap(permutation[i - 1], permutation[random() % i]);
  }
  RoutingRows out{layers, experts, top_k, {}, {}};
  for (int32_t row = 0; row < rows; ++row) {
    out.sequence.push_back(row / length);
    int32_t leader = (below(experts) + below(experts)) / 2;
    for (int32_t layer = 0; layer < layers; ++layer) {
      if (layer > 0)
        leader = below(3) == 0 ? below(experts)
                               : next[static_cast<size_t>(layer)][static_cast<size_t>(leader)];
      std::vector<uint16_t> chosen{static_cast<uint16_t>(leader)};
      while (static_cast<int32_t>(chosen.size()) < top_k) {
        const auto other = static_cast<uint16_t>(
            (leader + 1 + below(below(2) == 0 ? experts : std::min(experts, top_k + 1))) % experts);
        if (std::find(chosen.begin(), chosen.end(), other) == chosen.end()) chosen.push_back(other);
      }
      out.chosen.insert(out.chosen.end(), chosen.begin(), chosen.end());
    }
  }
  return out;
}

inline RoutingProfile profile_of(const RoutingRows& rows) {
  return *RoutingProfile::from_rows(rows, layer_numbers(rows.layers));
}

// Every expert on one rank, some on more.
inline PlacementTable random_table(int32_t layers, int32_t experts, int32_t ranks, int32_t replicas,
                                   uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::vector<std::vector<int32_t>>> holders(static_cast<size_t>(layers));
  for (auto& layer : holders) {
    for (int32_t expert = 0; expert < experts; ++expert)
      layer.push_back({static_cast<int32_t>(random() % static_cast<uint64_t>(ranks))});
    for (int32_t i = 0; i < replicas; ++i) {
      auto& of = layer[random() % layer.size()];
      const auto rank = static_cast<int32_t>(random() % static_cast<uint64_t>(ranks));
      if (std::find(of.begin(), of.end(), rank) == of.end()) of.push_back(rank);
    }
  }
  return *PlacementTable::from_holders(layer_numbers(layers), experts, ranks, holders);
}

// The chain instance of a profile with even slots; cap as max/mean, raised where slots do not allow
// it.
inline ChainInstance instance_of(const RoutingProfile& profile, int32_t ranks, double cap) {
  ChainInstance instance;
  instance.layers = profile.layers();
  instance.experts = profile.experts();
  instance.slots.assign(static_cast<size_t>(ranks), (profile.experts() + ranks - 1) / ranks);
  instance.node_of.assign(static_cast<size_t>(ranks), 0);
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    const auto loads = profile.loads(layer);
    instance.loads.insert(instance.loads.end(), loads.begin(), loads.end());
    const double mean = std::accumulate(loads.begin(), loads.end(), 0.0) / ranks;
    instance.cap.push_back(
        std::max(cap * mean, balance_layer({loads.begin(), loads.end()}, instance.slots).most));
    if (layer + 1 < profile.layers()) {
      const auto weights = profile.transitions(layer);
      instance.weights.insert(instance.weights.end(), weights.begin(), weights.end());
    }
  }
  return instance;
}

inline Assignment balanced_assignment(const ChainInstance& instance) {
  Assignment start{instance.experts, {}};
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    const auto first = instance.loads.begin() + static_cast<int64_t>(layer) * instance.experts;
    const auto even = balance_layer({first, first + instance.experts}, instance.slots);
    start.rank_of.insert(start.rank_of.end(), even.rank_of.begin(), even.rank_of.end());
  }
  return start;
}

// Calls visit for every assignment that obeys slots and caps.
template <typename Visit>
void for_each_assignment(const ChainInstance& instance, const Visit& visit) {
  Assignment assignment{
      instance.experts,
      std::vector<int32_t>(static_cast<size_t>(instance.layers * instance.experts), 0)};
  const auto walk = [&](const auto& self, size_t at) -> void {
    if (at == assignment.rank_of.size()) {
      if (obeys_slots(instance, assignment) && excess_load(instance, assignment) == 0)
        visit(assignment);
      return;
    }
    for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
      assignment.rank_of[at] = rank;
      self(self, at + 1);
    }
  };
  walk(walk, 0);
}

inline double best_kept(const ChainInstance& instance) {
  double best = -1;
  for_each_assignment(
      instance, [&](const Assignment& a) { best = std::max(best, kept_weight(instance, a)); });
  return best;
}

// What a row sends, by sets: the meaning of the two plans in the plainest words.
struct SlowCount {
  int64_t crossings = 0, dispatched = 0, returned = 0, returned_rows = 0;
};
inline SlowCount slow_count(const RoutingRows& rows, const PlacementTable& table, Plan plan,
                            const std::vector<int32_t>& homes) {
  SlowCount count;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    int32_t token = homes[static_cast<size_t>(row)];
    for (int32_t layer = 0; layer < rows.layers; ++layer) {
      const int32_t leader_rank = table.serving_rank(layer, rows.leader(row, layer), token);
      const int32_t sender = plan == Plan::kFixed ? homes[static_cast<size_t>(row)] : token;
      const int32_t receiver = plan == Plan::kFixed ? sender : leader_rank;
      std::set<int32_t> visited;
      for (uint16_t expert : rows.at(row, layer)) {
        const int32_t rank = table.serving_rank(layer, expert, sender);
        visited.insert(rank);
        count.returned_rows += rank != receiver;
      }
      for (int32_t rank : visited) {
        count.dispatched += rank != sender;
        count.returned += rank != receiver;
      }
      if (layer > 0) count.crossings += leader_rank != token;
      token = leader_rank;
    }
  }
  return count;
}

}  // namespace conclave::placement

#endif  // CONCLAVE_TESTS_EXPERT_PLACEMENT_ROUTING_FIXTURE_H_
