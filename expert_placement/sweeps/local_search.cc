#include "expert_placement/sweeps/local_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "expert_placement/flow/balanced_assignment.h"
#include "expert_placement/sweeps/repair.h"

namespace conclave::placement {
namespace {

// -log of evenly spread numbers in (0, 1): Metropolis tests without calling log.
std::vector<double> exponential_quantiles() {
  std::vector<double> values(4096);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = -std::log((static_cast<double>(i) + 0.5) / 4096.0);
  return values;
}

// What an annealed swap draws from: free experts, and free experts and slots of a layer.
class Places {
 public:
  Places(const FreeExperts& free, const ChainState& state) : partners_(free) {
    for (size_t layer = 0; layer < free.size(); ++layer) {
      for (int32_t expert : free[layer]) experts_.emplace_back(static_cast<int32_t>(layer), expert);
      for (int32_t slot = state.instance().experts; slot < state.padded(); ++slot)
        partners_[layer].push_back(slot);
    }
  }
  size_t count() const { return experts_.size(); }
  std::pair<int32_t, int32_t> any(Random* random) const {
    return experts_[random->below(static_cast<uint32_t>(experts_.size()))];
  }
  int32_t partner(int32_t layer, Random* random) const {
    const std::vector<int32_t>& of = partners_[static_cast<size_t>(layer)];
    return of[random->below(static_cast<uint32_t>(of.size()))];
  }

 private:
  std::vector<std::pair<int32_t, int32_t>> experts_;  // (layer, expert)
  FreeExperts partners_;
};

double mean_attraction(const ChainInstance& instance) {
  const double total = std::accumulate(instance.weights.begin(), instance.weights.end(), 0.0);
  return std::max(1e-300, 2 * total / (static_cast<double>(instance.layers) * instance.experts));
}

double total_load(const ChainInstance& instance) {
  return std::accumulate(instance.loads.begin(), instance.loads.end(), 0.0);
}

// Best relabelling of the ranks from layer `first` on; true if it keeps more.
bool relabel_from(int32_t first, ChainState* state) {
  const ChainInstance& instance = state->instance();
  const auto ranks = static_cast<size_t>(instance.ranks());
  // kept[a, b]: weight kept across the cut if what is now rank a becomes rank b
  std::vector<double> kept(ranks * ranks, 0);
  for (int32_t from = 0; from < instance.experts; ++from) {
    const double* row = instance.weight(first - 1, from);
    for (int32_t to = 0; to < instance.experts; ++to) {
      if (row[to] == 0) continue;
      const auto at = static_cast<size_t>(state->rank(first, to)) * ranks;
      for (size_t rank = 0; rank < ranks; ++rank) {
        kept[at + rank] +=
            row[to] * instance.value(state->rank(first - 1, from), static_cast<int32_t>(rank));
      }
    }
  }
  const std::vector<int32_t> name = assign_balanced(kept, std::vector<int32_t>(ranks, 1));
  double now = 0, then = 0;
  for (size_t rank = 0; rank < ranks; ++rank) {
    now += kept[rank * ranks + rank];
    then += kept[rank * ranks + static_cast<size_t>(name[rank])];
  }
  if (then <= now * (1 + 1e-12)) return false;
  for (int32_t layer = first; layer < instance.layers; ++layer) {
    std::vector<int32_t> renamed;
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      renamed.push_back(name[static_cast<size_t>(state->rank(layer, expert))]);
    }
    state->set_layer(layer, renamed);
  }
  return true;
}

bool swaps_gain(const SearchClock& clock, int32_t layer, ChainState* state) {
  bool any = false;
  const double threshold = 1e-9 * mean_attraction(state->instance());
  for (int32_t a = 0; a < state->instance().experts; ++a) {
    if (clock.expired()) return any;
    for (int32_t b = a + 1; b < state->padded(); ++b) {
      if (state->rank(layer, a) == state->rank(layer, b)) continue;
      if (state->swap_gain(layer, a, b) <= threshold) continue;
      if (state->swap_excess(layer, a, b) > 0) continue;
      state->swap(layer, a, b);
      any = true;
    }
  }
  return any;
}

// The layer as an assignment problem with its neighbours fixed; kept only where the loads still
// fit.
bool sweep_gains(int32_t layer, ChainState* state) {
  const ChainInstance& instance = state->instance();
  std::vector<double> profit;
  double now = 0, then = 0;
  std::vector<int32_t> before;
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    for (int32_t rank = 0; rank < instance.ranks(); ++rank)
      profit.push_back(state->attraction(layer, expert, rank));
    before.push_back(state->rank(layer, expert));
    now += state->attraction(layer, expert, before.back());
  }
  const std::vector<int32_t> after = assign_balanced(profit, instance.slots);
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    then += state->attraction(layer, expert, after[static_cast<size_t>(expert)]);
  }
  if (then <= now + 1e-9 * mean_attraction(instance)) return false;
  const double excess = state->excess();
  state->set_layer(layer, after);
  if (state->excess() <= excess) return true;
  state->set_layer(layer, before);
  return false;
}

}  // namespace

FreeExperts all_experts(const ChainInstance& instance) {
  std::vector<int32_t> layer(static_cast<size_t>(instance.experts));
  std::iota(layer.begin(), layer.end(), 0);
  return FreeExperts(static_cast<size_t>(instance.layers), layer);
}

void anneal(const AnnealOptions& options, const FreeExperts& free, const SearchClock& clock,
            ChainState* state) {
  const ChainInstance& instance = state->instance();
  const Places places(free, *state);
  if (instance.ranks() < 2 || places.count() == 0) return;
  const std::vector<double> quantiles = exponential_quantiles();
  const double unit = mean_attraction(instance);
  const double total_weight =
      std::accumulate(instance.weights.begin(), instance.weights.end(), 0.0);
  // One unit of load stands for this much kept weight.
  const double price_unit = options.load_price * std::max(total_weight, unit) * 2 /
                            std::max(1e-300, total_load(instance));
  Random random(options.seed);
  double temperature = options.hot * unit, price = 0;
  for (int64_t step = 0; step < options.proposals; ++step) {
    if (step % 4096 == 0) {
      if (clock.expired()) return;
      // Time says nothing before there is work to compare it with.
      const double time = step == 0 ? 0 : clock.elapsed() / clock.seconds();
      const double progress =
          std::max(static_cast<double>(step) / static_cast<double>(options.proposals), time);
      temperature = unit * options.hot * std::pow(options.cold / options.hot, progress);
      price = price_unit * (0.2 + 0.8 * progress);
    }
    const auto [layer, a] = places.any(&random);
    const int32_t b = places.partner(layer, &random);
    if (state->rank(layer, a) == state->rank(layer, b)) continue;
    const double gain = state->swap_gain(layer, a, b);
    const double allowed = -temperature * quantiles[random.next() >> 52];
    if (gain - price * state->swap_excess(layer, a, b) >= allowed) state->swap(layer, a, b);
  }
}

bool repair(ChainState* state) {
  const auto loss = [state](int32_t layer, int32_t a, int32_t b) {
    return -state->swap_gain(layer, a, b);
  };
  return repair_loads(loss, 1e-12, state);
}

void polish(const SearchClock& clock, ChainState* state) {
  const auto layers = static_cast<size_t>(state->instance().layers);
  // Whether anything changed since the layer was looked at: there, or in a layer next to it.
  std::vector<char> stale(layers, true);
  while (std::find(stale.begin(), stale.end(), true) != stale.end()) {
    for (size_t layer = 0; layer < layers; ++layer) {
      if (!stale[layer]) continue;
      if (clock.expired()) return;
      bool any = swaps_gain(clock, static_cast<int32_t>(layer), state);
      if (!clock.expired()) any = sweep_gains(static_cast<int32_t>(layer), state) || any;
      stale[layer] = any;
      if (any && layer > 0) stale[layer - 1] = true;
      if (any && layer + 1 < layers) stale[layer + 1] = true;
    }
  }
}

void relabel_suffixes(ChainState* state) {
  for (int32_t layer = 1; layer < state->instance().layers; ++layer) relabel_from(layer, state);
}

}  // namespace conclave::placement
