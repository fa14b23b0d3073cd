#ifndef CONCLAVE_EXPERT_PLACEMENT_MIGRATION_BUDGETED_REPAIR_H_
#define CONCLAVE_EXPERT_PLACEMENT_MIGRATION_BUDGETED_REPAIR_H_

// Improving a placement while few experts move: best swaps first, until the budget is used up.

#include <algorithm>
#include <cstdint>

#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// State has rank(l, e), padded(), instance(), swap_excess(l, a, b), swap(l, a, b). gain(l, a, b) is
// what a swap saves. Each step makes the swap with the most gain for each copy it moves away from
// `from`; swaps that lower excess load come first.
template <typename State, typename Gain>
void repair_within_budget(const Assignment& from, int64_t budget, const SearchClock& clock,
                          const Gain& gain, State* state) {
  const ChainInstance& instance = state->instance();
  const auto moved = [&](int32_t layer, int32_t expert, int32_t rank) -> int64_t {
    return expert < instance.experts && from.at(layer, expert) != rank;
  };
  while (!clock.expired()) {
    double best = 0;
    int32_t best_layer = -1, best_a = 0, best_b = 0;
    int64_t best_cost = 0;
    for (int32_t layer = 0; layer < instance.layers; ++layer) {
      for (int32_t a = 0; a < instance.experts; ++a) {
        for (int32_t b = a + 1; b < state->padded(); ++b) {
          const int32_t rank_a = state->rank(layer, a), rank_b = state->rank(layer, b);
          if (rank_a == rank_b) continue;
          const int64_t cost = moved(layer, a, rank_b) + moved(layer, b, rank_a) -
                               moved(layer, a, rank_a) - moved(layer, b, rank_b);
          if (cost > budget) continue;
          const double excess = state->swap_excess(layer, a, b);
          if (excess > 0) continue;
          const double healed =
              excess < -1e-9 * instance.cap[static_cast<size_t>(layer)] ? 1e12 - excess : 0;
          const double value =
              (gain(layer, a, b) + healed) / static_cast<double>(std::max<int64_t>(1, cost));
          if (value > best)
            best = value, best_layer = layer, best_a = a, best_b = b, best_cost = cost;
        }
      }
    }
    if (best_layer < 0 || best <= 1e-9) return;
    state->swap(best_layer, best_a, best_b);
    budget -= best_cost;
  }
}

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_MIGRATION_BUDGETED_REPAIR_H_
