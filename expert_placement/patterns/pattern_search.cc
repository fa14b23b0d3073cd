#include "expert_placement/patterns/pattern_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/single_copy_table.h"
#include "expert_placement/sweeps/repair.h"

namespace conclave::placement {
namespace {

constexpr double kLooksPerSwap = 5000;

// Whole-number Metropolis tests need no quantile table: one draw a proposal is cheap beside the
// look-ups.
class Annealer {
 public:
  Annealer(int64_t proposals, double hot, double cold, double price, uint64_t seed)
      : proposals_(std::max<int64_t>(1, proposals)),
        hot_(hot),
        cold_(cold),
        price_(price),
        random_(seed) {}

  void run(const SearchClock& clock, PatternState* state) {
    const auto layers = static_cast<uint32_t>(state->instance().layers);
    const auto experts = static_cast<uint32_t>(state->instance().experts);
    const auto padded = static_cast<uint32_t>(state->padded());
    double temperature = hot_;
    for (int64_t step = 0; step < proposals_; ++step) {
      if (step % 256 == 0) {
        if (clock.expired()) return;
        // Time says nothing before there is work to compare it with.
        const double time = step == 0 ? 0 : clock.elapsed() / clock.seconds();
        const double progress =
            std::max(static_cast<double>(step) / static_cast<double>(proposals_), time);
        temperature = hot_ * std::pow(cold_ / hot_, progress);
      }
      const auto layer = static_cast<int32_t>(random_.below(layers));
      const auto a = static_cast<int32_t>(random_.below(experts));
      const auto b = static_cast<int32_t>(random_.below(padded));
      if (state->rank(layer, a) == state->rank(layer, b)) continue;
      const double allowed = -temperature * std::log(random_.uniform() + 1e-300) -
                             price_ * state->swap_excess(layer, a, b);
      if (static_cast<double>(state->quick_swap_cost(layer, a, b)) > allowed) continue;
      if (static_cast<double>(state->swap_cost(layer, a, b)) > allowed) continue;
      state->swap(layer, a, b);
    }
  }

 private:
  int64_t proposals_;
  double hot_, cold_, price_;
  Random random_;
};

void repair(PatternState* state) {
  const auto loss = [state](int32_t layer, int32_t a, int32_t b) {
    return static_cast<double>(state->quick_swap_cost(layer, a, b));
  };
  repair_loads(loss, 1, state);
}

void polish(const SearchClock& clock, PatternState* state) {
  for (bool any = true; any;) {
    any = false;
    for (int32_t layer = 0; layer < state->instance().layers; ++layer) {
      for (int32_t a = 0; a < state->instance().experts; ++a) {
        if (clock.expired()) return;
        for (int32_t b = a + 1; b < state->padded(); ++b) {
          if (state->rank(layer, a) == state->rank(layer, b)) continue;
          if (state->quick_swap_cost(layer, a, b) >= 0 || state->swap_excess(layer, a, b) > 0)
            continue;
          if (state->swap_cost(layer, a, b) >= 0) continue;
          state->swap(layer, a, b);
          any = true;
        }
      }
    }
  }
}

}  // namespace

Assignment search_patterns(const ChainInstance& instance, const RoutingRows& rows,
                           const Assignment& start, const SearchClock& clock,
                           const PatternSearchOptions& options) {
  if (rows.rows() == 0 || instance.ranks() < 2) return start;
  const auto homes_for = [&](const Assignment& assignment) {
    return matched_homes(rows, rows, single_copy_table(instance, assignment));
  };
  const auto score = [&](const Assignment& assignment) {
    const PatternState state(instance, rows, options.plan, homes_for(assignment), assignment);
    return std::pair(state.excess(), state.messages());
  };
  Assignment best = start, current = start;
  auto best_score = score(best);
  const double unit = static_cast<double>(rows.rows()) * rows.top_k / instance.experts;
  // A unit of load above the cap costs as much as two messages of the rows that make it.
  const double price =
      2 * static_cast<double>(rows.rows()) * rows.layers * rows.top_k /
      std::max(1e-300, std::accumulate(instance.loads.begin(), instance.loads.end(), 0.0));
  const double swaps = 0.5 * instance.layers * instance.experts *
                       std::accumulate(instance.slots.begin(), instance.slots.end(), 0);
  const double proposals =
      std::min(options.proposals_per_second * clock.seconds(), kLooksPerSwap * swaps);
  const int rounds = options.plan == Plan::kFixed ? 5 : 2;
  for (int round = 0; round < rounds && !clock.expired(); ++round) {
    const SearchClock part = clock.part(0.95 / (rounds - round));
    PatternState state(instance, rows, options.plan, homes_for(current), current);
    const double hot = options.hot * unit * std::pow(0.5, round);
    Annealer annealer(static_cast<int64_t>(proposals / rounds), hot, options.cold * unit, price,
                      options.seed + static_cast<uint64_t>(round));
    annealer.run(part, &state);
    repair(&state);
    polish(clock, &state);
    current = state.assignment();
    const auto found = score(current);
    if (found < best_score) best = current, best_score = found;
  }
  return best;
}

}  // namespace conclave::placement
