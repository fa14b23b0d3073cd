#ifndef CONCLAVE_EXPERT_PLACEMENT_ILP_CHAIN_PROGRAMS_H_
#define CONCLAVE_EXPERT_PLACEMENT_ILP_CHAIN_PROGRAMS_H_

// The chain of layers as integer programs.

#include <cstdint>
#include <optional>

#include "expert_placement/ilp/mip.h"
#include "expert_placement/sweeps/chain_search.h"

namespace conclave::placement {

// The whole program: x(l, e, g) binary, q(l, i, j, g) the transition i -> j kept on g, q <= x on
// both sides, and the capacity-RLT rows sum_i q = sum_i x_i x_j <= slots * x_j (equal where all
// slots are filled), which lift the root bound from nearly nothing to most of the optimum.
// Instances of one node. Column order: x by [l][e][g], then q.
MipModel whole_chain_program(const ChainInstance& instance);
// x of a solution as an assignment.
Assignment read_assignment(const ChainInstance& instance, const std::vector<double>& values);

// One layer with its neighbours fixed: the best balanced assignment under slots and load cap,
// exactly. With a budget, at most that many experts of the layer leave where `home` [E] has them.
struct LayerBudget {
  const int32_t* home = nullptr;
  int64_t moves = 0;
};
MipModel one_layer_program(const ChainState& state, int32_t layer,
                           std::optional<LayerBudget> budget = std::nullopt);

// Layer after layer through CBC until no layer gains or the clock ends; accepts improvements only.
// Returns the number of layers improved.
int32_t improve_layers(const SearchClock& clock, double seconds_per_layer, ChainState* state);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_ILP_CHAIN_PROGRAMS_H_
