#include "expert_placement/sweeps/chain_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <thread>

#include "expert_placement/flow/balanced_assignment.h"

namespace conclave::placement {
namespace {

// -log of evenly spread numbers in (0, 1): Metropolis tests without calling log.
std::vector<double> exponential_quantiles() {
  std::vector<double> values(4096);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = -std::log((static_cast<double>(i) + 0.5) / 4096.0);
  return values;
}

constexpr double kLooksPerSwap = 20000;

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
      const double excess = state->swap_excess(layer, a, b);
      if (excess > 0) continue;
      if (state->swap_gain(layer, a, b) <= threshold) continue;
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

void anneal(const AnnealOptions& options, const SearchClock& clock, ChainState* state) {
  const ChainInstance& instance = state->instance();
  if (instance.ranks() < 2 || instance.layers < 1) return;
  const std::vector<double> quantiles = exponential_quantiles();
  const double unit = mean_attraction(instance);
  const double total_weight =
      std::accumulate(instance.weights.begin(), instance.weights.end(), 0.0);
  // One unit of load stands for this much kept weight.
  const double price_unit = options.load_price * std::max(total_weight, unit) * 2 /
                            std::max(1e-300, total_load(instance));
  Random random(options.seed);
  double temperature = options.hot * unit, price = 0;
  const auto layers = static_cast<uint32_t>(instance.layers);
  const auto experts = static_cast<uint32_t>(instance.experts);
  const auto padded = static_cast<uint32_t>(state->padded());
  for (int64_t step = 0; step < options.proposals; ++step) {
    if (step % 4096 == 0) {
      if (clock.expired()) return;
      const double progress =
          std::max(static_cast<double>(step) / static_cast<double>(options.proposals),
                   clock.elapsed() / clock.seconds());
      temperature = unit * options.hot * std::pow(options.cold / options.hot, progress);
      price = price_unit * (0.2 + 0.8 * progress);
    }
    const auto layer = static_cast<int32_t>(random.below(layers));
    const auto a = static_cast<int32_t>(random.below(experts));
    const auto b = static_cast<int32_t>(random.below(padded));
    if (state->rank(layer, a) == state->rank(layer, b)) continue;
    const double gain = state->swap_gain(layer, a, b);
    const double allowed = -temperature * quantiles[random.next() >> 52];
    if (gain - price * state->swap_excess(layer, a, b) >= allowed) state->swap(layer, a, b);
  }
}

bool repair(ChainState* state) {
  const ChainInstance& instance = state->instance();
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int round = 0; round < 4 * instance.experts; ++round) {
      double best = 0;
      int32_t best_a = -1, best_b = -1;
      for (int32_t a = 0; a < instance.experts; ++a) {
        for (int32_t b = a + 1; b < state->padded(); ++b) {
          if (state->rank(layer, a) == state->rank(layer, b)) continue;
          const double healed = -state->swap_excess(layer, a, b);
          if (healed <= 1e-9 * instance.cap[static_cast<size_t>(layer)]) continue;
          // A small loss for much healing first.
          const double loss = std::max(1e-12, -state->swap_gain(layer, a, b));
          if (healed / loss > best) best = healed / loss, best_a = a, best_b = b;
        }
      }
      if (best_a < 0) break;
      state->swap(layer, best_a, best_b);
    }
  }
  return state->excess() <= 0;
}

void polish(const SearchClock& clock, ChainState* state) {
  bool any = true;
  while (any && !clock.expired()) {
    any = false;
    for (int32_t layer = 0; layer < state->instance().layers && !clock.expired(); ++layer) {
      any = swaps_gain(clock, layer, state) || any;
      if (!clock.expired()) any = sweep_gains(layer, state) || any;
    }
  }
}

void relabel_suffixes(ChainState* state) {
  for (int32_t layer = 1; layer < state->instance().layers; ++layer) relabel_from(layer, state);
}

namespace {

struct Found {
  Assignment assignment;
  double kept = 0, excess = 0;
  bool better_than(const Found& other) const {
    return excess != other.excess ? excess < other.excess : kept > other.kept;
  }
};

struct Run {
  int64_t proposals = 0;
  uint64_t seed = 1;
};

// One annealing run, made feasible and polished.
Found run_once(const ChainInstance& instance, const Assignment& start, const Run& run,
               const SearchClock& own, const SearchClock& whole) {
  ChainState state(instance, start);
  AnnealOptions options;
  options.proposals = run.proposals;
  options.seed = run.seed;
  anneal(options, own, &state);
  relabel_suffixes(&state);
  repair(&state);
  polish(whole, &state);
  const Assignment found = state.assignment();
  return {found, kept_weight(instance, found), excess_load(instance, found)};
}

// The runs on so many threads, each with an even part of the seconds; the best of them and `best`.
// The order of the runs, not of their ends, decides between equals.
void run_all(const ChainInstance& instance, const Assignment& start, const std::vector<Run>& runs,
             int32_t threads, double seconds, const SearchClock& whole, Found* best) {
  const auto workers = std::min(static_cast<size_t>(std::max(1, threads)), runs.size());
  const double each = seconds / std::ceil(static_cast<double>(runs.size()) / workers);
  std::vector<std::optional<Found>> found(runs.size());
  const auto work = [&](size_t first) {
    for (size_t i = first; i < runs.size() && !whole.expired(); i += workers)
      found[i] = run_once(instance, start, runs[i], whole.limited(each), whole);
  };
  std::vector<std::thread> others;
  for (size_t worker = 1; worker < workers; ++worker) others.emplace_back(work, worker);
  work(0);
  for (std::thread& other : others) other.join();
  for (std::optional<Found>& one : found) {
    if (one && one->better_than(*best)) *best = *std::move(one);
  }
}

}  // namespace

Assignment search_chain(const ChainInstance& instance, const Assignment& start,
                        const SearchClock& clock, uint64_t seed, const ChainSearchOptions& options) {
  Found best{start, kept_weight(instance, start), excess_load(instance, start)};
  // Small instances are done long before their time: so many looks at each swap find all there is.
  const double swaps = 0.5 * instance.layers * instance.experts *
                       std::accumulate(instance.slots.begin(), instance.slots.end(), 0);
  const double seconds = clock.seconds();
  const double budget = std::min(options.proposals_per_second * seconds, kLooksPerSwap * swaps);
  const auto phase = [&](double share, int32_t count) {
    if (clock.expired()) return;
    std::vector<Run> runs;
    for (int32_t i = 0; i < count; ++i)
      runs.push_back({static_cast<int64_t>(budget * share * 0.9), seed++});
    const double runs_each = std::ceil(static_cast<double>(count) / options.threads);
    run_all(instance, start, runs, options.threads,
            std::min(seconds * share * runs_each, clock.remaining()), clock, &best);
  };
  // A short run, so that something good is there early. Then medium ones from different seeds:
  // whole groups of experts end on the wrong side of a run's placement now and then, and no longer
  // run mends that. Then long ones.
  phase(0.02, 1);
  phase(0.08, 4 * options.threads);
  phase(0.6, options.threads);
  return best.assignment;
}

}  // namespace conclave::placement
