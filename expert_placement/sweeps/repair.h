#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_REPAIR_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_REPAIR_H_

// Loads brought below their caps, whatever the objective.

#include <algorithm>
#include <cstdint>

#include "expert_placement/sweeps/chain_instance.h"

namespace conclave::placement {

// State has rank(l, e), padded(), instance(), swap_excess(l, a, b), excess(), swap(l, a, b).
// loss(l, a, b) is what the objective loses by a swap; `least` (> 0) is what a swap that loses
// nothing counts as. In each layer the swap that heals most excess for its loss comes first, until
// none heals. Returns whether no load is above its cap.
template <typename State, typename Loss>
bool repair_loads(const Loss& loss, double least, State* state) {
  if (state->excess() <= 0) return true;
  const ChainInstance& instance = state->instance();
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    const double too_little = 1e-9 * instance.cap[static_cast<size_t>(layer)];
    for (int32_t round = 0; round < 4 * instance.experts; ++round) {
      double best = 0;
      int32_t best_a = -1, best_b = -1;
      for (int32_t a = 0; a < instance.experts; ++a) {
        for (int32_t b = a + 1; b < state->padded(); ++b) {
          if (state->rank(layer, a) == state->rank(layer, b)) continue;
          const double healed = -state->swap_excess(layer, a, b);
          if (healed <= too_little) continue;
          const double worth = healed / std::max(least, loss(layer, a, b));
          if (worth > best) best = worth, best_a = a, best_b = b;
        }
      }
      if (best_a < 0) break;
      state->swap(layer, best_a, best_b);
    }
  }
  return state->excess() <= 0;
}

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_REPAIR_H_
