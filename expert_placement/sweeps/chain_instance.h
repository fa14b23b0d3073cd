#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_INSTANCE_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_INSTANCE_H_

// The placement problem without replicas as the chain solvers see it: one copy of each expert,
// layers coupled to their neighbours by transition weights, a cap on every rank's load in every
// layer.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace conclave::placement {

// Plain values. Ranks of a node are consecutive.
struct ChainInstance {
  int32_t layers = 0;
  int32_t experts = 0;
  std::vector<double> weights;   // [layers - 1, E, E]
  std::vector<double> loads;     // [layers, E]
  std::vector<int32_t> slots;    // [ranks]: experts of one layer a rank can hold
  std::vector<double> cap;       // [layers] most load of one rank
  std::vector<int32_t> node_of;  // [ranks], ascending
  double same_node_value = 0;  // value of a transition inside a node, 1 inside a rank (0 <= v < 1)

  int32_t ranks() const { return static_cast<int32_t>(slots.size()); }
  const double* weight(int32_t layer, int32_t from) const {
    return weights.data() +
           (static_cast<size_t>(layer) * static_cast<size_t>(experts) + static_cast<size_t>(from)) *
               static_cast<size_t>(experts);
  }
  double load(int32_t layer, int32_t expert) const {
    return loads[static_cast<size_t>(layer) * static_cast<size_t>(experts) +
                 static_cast<size_t>(expert)];
  }
  // Value of a transition between two ranks.
  double value(int32_t from, int32_t to) const {
    if (from == to) return 1;
    return node_of[static_cast<size_t>(from)] == node_of[static_cast<size_t>(to)] ? same_node_value
                                                                                  : 0;
  }
};

// [layers, E] -> rank. The solvers' currency; PlacementTable is the world's.
struct Assignment {
  int32_t experts = 0;
  std::vector<int32_t> rank_of;

  int32_t& at(int32_t layer, int32_t expert) {
    return rank_of[static_cast<size_t>(layer) * static_cast<size_t>(experts) +
                   static_cast<size_t>(expert)];
  }
  int32_t at(int32_t layer, int32_t expert) const {
    return rank_of[static_cast<size_t>(layer) * static_cast<size_t>(experts) +
                   static_cast<size_t>(expert)];
  }
};

// rank(layer, expert) of every expert.
template <typename Rank>
Assignment assignment_of(const ChainInstance& instance, Rank rank) {
  Assignment out{instance.experts, {}};
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert)
      out.rank_of.push_back(rank(layer, expert));
  }
  return out;
}

// Sum of weight * value(rank of from, rank of to): what stays. Larger is better.
double kept_weight(const ChainInstance& instance, const Assignment& assignment);
// Sum over layers and ranks of the load above the cap; 0 is feasible. Slots are not looked at.
double excess_load(const ChainInstance& instance, const Assignment& assignment);
// The same of loads that are summed already: [layers, ranks].
double excess_load(const ChainInstance& instance, const std::vector<double>& load_of_rank);
bool obeys_slots(const ChainInstance& instance, const Assignment& assignment);

// The smallest largest-rank load of one layer that local search finds under the slots (longest
// processing time first, then improving moves and swaps), and the assignment [E] that has it.
struct BalancedLayer {
  double most = 0;
  std::vector<int32_t> rank_of;
};
BalancedLayer balance_layer(const std::vector<double>& loads, const std::vector<int32_t>& slots);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_INSTANCE_H_
