#ifndef CONCLAVE_EXPERT_PLACEMENT_ILP_CHAIN_PROGRAMS_H_
#define CONCLAVE_EXPERT_PLACEMENT_ILP_CHAIN_PROGRAMS_H_

// The chain of layers as integer programs.

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "expert_placement/ilp/mip.h"
#include "expert_placement/sweeps/chain_state.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// The whole program: x(l, e, g) binary, q(l, i, j, g) the transition i -> j kept on g, q <= x on
// both sides, and the capacity-RLT rows sum_i q = sum_i x_i x_j <= slots * x_j (equal where all
// slots are filled), which lift the root bound from nearly nothing to most of the optimum.
// Instances of one node. Column order: x by [l][e][g], then q.
MipModel whole_chain_program(const ChainInstance& instance);
// The point of an assignment in that program, its ranks renamed as the program wants them. Slots must
// be the same on all ranks.
std::vector<double> point_of(const ChainInstance& instance, const Assignment& assignment);
// x of a solution as an assignment.
Assignment read_assignment(const ChainInstance& instance, const std::vector<double>& values);

// One layer as a balanced assignment under slots and load cap; gain, start: of (expert, rank). With
// a budget, at most that many experts of the layer leave where `home` [E] has them.
struct LayerBudget {
  const int32_t* home = nullptr;
  int64_t moves = 0;
};
MipModel assignment_program(const ChainInstance& instance, int32_t layer,
                            const std::function<double(int32_t expert, int32_t rank)>& gain,
                            const std::function<int32_t(int32_t expert)>& start,
                            std::optional<LayerBudget> budget = std::nullopt);
// The rank of each expert [E] in a solution of it.
std::vector<int32_t> read_layer(const ChainInstance& instance, const std::vector<double>& values);
// With the neighbours of the layer fixed, what it keeps: exact.
MipModel one_layer_program(const ChainState& state, int32_t layer,
                           std::optional<LayerBudget> budget = std::nullopt);

// At most `moves` experts of all layers may leave where `home` has them.
struct MoveBudget {
  const Assignment* home = nullptr;
  int64_t moves = 0;
};
// Layer after layer through CBC until no layer gains or the clock ends; accepts improvements only.
// Returns the number of layers improved. The state must keep the budget to begin with.
int32_t improve_layers(const SearchClock& clock, double seconds_per_layer, ChainState* state,
                       std::optional<MoveBudget> budget = std::nullopt);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_ILP_CHAIN_PROGRAMS_H_
