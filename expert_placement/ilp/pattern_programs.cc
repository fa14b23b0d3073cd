#include "expert_placement/ilp/pattern_programs.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "expert_placement/ilp/chain_programs.h"
#include "expert_placement/ilp/mip.h"

namespace conclave::placement {
namespace {

constexpr int64_t kMostMoves = 16;  // of one program; halved while the sum of moves misleads

struct Swap {
  int32_t a = 0, b = 0;
};

// The swaps that bring a layer to target [E], and the messages that they add.
class LayerChange {
 public:
  LayerChange(int32_t layer, PatternState* state) : layer_(layer), state_(state) {}

  void make(const std::vector<int32_t>& target) {
    for (int32_t expert = 0; expert < state_->instance().experts; ++expert) {
      const int32_t to = target[static_cast<size_t>(expert)];
      if (state_->rank(layer_, expert) == to) continue;
      const Swap swap{expert, partner(expert, target)};
      cost_ += state_->swap_cost(layer_, swap.a, swap.b);
      state_->swap(layer_, swap.a, swap.b);
      made_.push_back(swap);
    }
  }
  void undo() {
    for (auto swap = made_.rbegin(); swap != made_.rend(); ++swap)
      state_->swap(layer_, swap->a, swap->b);
  }
  int64_t cost() const { return cost_; }

 private:
  // Somebody on the expert's new rank who need not stay there: best one who wants the expert's
  // place, else a free slot, else anyone. Slots suffice, so there is one.
  int32_t partner(int32_t expert, const std::vector<int32_t>& target) const {
    const int32_t experts = state_->instance().experts;
    const int32_t from = state_->rank(layer_, expert), to = target[static_cast<size_t>(expert)];
    int32_t other = -1;
    for (int32_t b = 0; b < state_->padded(); ++b) {
      if (state_->rank(layer_, b) != to) continue;
      const int32_t wants = b < experts ? target[static_cast<size_t>(b)] : from;
      if (wants == from) return b;
      if (wants != to) other = b;
    }
    return other;
  }

  int32_t layer_;
  PatternState* state_;
  std::vector<Swap> made_;
  int64_t cost_ = 0;
};

// True if the layer sends less now.
bool improve_layer(int32_t layer, int64_t moves, double seconds, PatternState* state) {
  const ChainInstance& instance = state->instance();
  std::vector<int32_t> before;
  for (int32_t expert = 0; expert < instance.experts; ++expert)
    before.push_back(state->rank(layer, expert));
  const auto gain = [&](int32_t expert, int32_t rank) {
    const bool stays = rank == before[static_cast<size_t>(expert)];
    return stays ? 0.0 : -static_cast<double>(state->move_cost(layer, expert, rank));
  };
  const MipModel program = assignment_program(
      instance, layer, gain, [&](int32_t expert) { return before[static_cast<size_t>(expert)]; },
      LayerBudget{before.data(), moves});
  const MipResult result = solve_mip(program, seconds);
  if (result.status == MipStatus::kNothing || result.objective < 0.5) return false;
  const double excess = state->excess();
  LayerChange change(layer, state);
  change.make(read_layer(instance, result.values));
  if (change.cost() < 0 && state->excess() <= excess) return true;
  change.undo();
  return false;
}

}  // namespace

int32_t improve_patterns(const SearchClock& clock, double seconds_per_layer, PatternState* state) {
  int32_t improved = 0;
  for (int64_t moves = kMostMoves; moves >= 2; moves /= 2) {
    for (bool any = true; any && !clock.expired();) {
      any = false;
      for (int32_t layer = 0; layer < state->instance().layers && !clock.expired(); ++layer) {
        const double seconds = std::min(seconds_per_layer, clock.remaining() - 0.6);
        if (!improve_layer(layer, moves, seconds, state)) continue;
        ++improved;
        any = true;
      }
    }
  }
  return improved;
}

}  // namespace conclave::placement
