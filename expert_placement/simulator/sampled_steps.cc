#include "expert_placement/simulator/sampled_steps.h"

#include <algorithm>
#include <random>

#include "expert_placement/objective/serving_ranks.h"

namespace conclave::placement {
namespace {

// Tokens drawn in all, and bounds of the number of steps that they make.
constexpr int64_t kTokens = 8192;
constexpr int64_t kFewestSteps = 8;
constexpr int64_t kMostSteps = 128;

// Draws rows by home, so that each rank has the tokens that a scheduler would give it.
class RowDrawer {
 public:
  RowDrawer(std::span<const int32_t> homes, int32_t ranks, uint64_t seed)
      : random_(seed), rows_(static_cast<int64_t>(homes.size())), of_(static_cast<size_t>(ranks)) {
    for (size_t row = 0; row < homes.size(); ++row)
      of_[static_cast<size_t>(homes[row])].push_back(static_cast<int64_t>(row));
  }
  int64_t row_at(int32_t home) {
    const std::vector<int64_t>& rows = of_[static_cast<size_t>(home)];
    if (rows.empty()) return static_cast<int64_t>(random_() % static_cast<uint64_t>(rows_));
    return rows[random_() % rows.size()];
  }

 private:
  std::mt19937_64 random_;
  int64_t rows_;
  std::vector<std::vector<int64_t>> of_;
};

}  // namespace

// Adds rows to the counts of one step.
class SampledSteps::Counter {
 public:
  explicit Counter(const Input& input)
      : input_(input),
        serving_(*input.table),
        ranks_(input.table->ranks()),
        pairs_on_(static_cast<size_t>(ranks_), 0),
        active_(static_cast<size_t>(input.rows->layers) * static_cast<size_t>(input.rows->experts) *
                static_cast<size_t>(ranks_)) {}

  // counts: [layers, ranks]
  void begin_step(Rank* counts) {
    counts_ = counts;
    std::fill(active_.begin(), active_.end(), false);
  }
  void add(int64_t row, int32_t home) {
    int32_t at = home;
    for (int32_t layer = 0; layer < input_.rows->layers; ++layer) {
      const int32_t next =
          input_.plan == Plan::kFixed ? home : serving_(layer, input_.rows->leader(row, layer), at);
      dispatch(row, layer, at);
      combine(row, layer, at, next);
      if (next != at) send(layer, at, next, input_.move_rows, &Rank::dispatch);
      at = next;
    }
  }

 private:
  void dispatch(int64_t row, int32_t layer, int32_t at) {
    for (const uint16_t expert : input_.rows->at(row, layer)) {
      const int32_t to = serving_(layer, expert, at);
      if (pairs_on_[static_cast<size_t>(to)]++ == 0 && to != at)
        send(layer, at, to, 1, &Rank::dispatch);
      Rank& rank = counts_[layer * ranks_ + to];
      ++rank.pairs;
      const size_t key =
          (static_cast<size_t>(layer) * static_cast<size_t>(input_.rows->experts) + expert) *
              static_cast<size_t>(ranks_) +
          static_cast<size_t>(to);
      if (!active_[key]) ++rank.active;
      active_[key] = true;
    }
  }
  // The unsummed rows of the experts, to where the token is next.
  void combine(int64_t row, int32_t layer, int32_t at, int32_t next) {
    for (const uint16_t expert : input_.rows->at(row, layer)) {
      const int32_t from = serving_(layer, expert, at);
      double& pairs = pairs_on_[static_cast<size_t>(from)];
      if (pairs > 0 && from != next) send(layer, from, next, pairs, &Rank::combine);
      pairs = 0;
    }
  }
  void send(int32_t layer, int32_t from, int32_t to, double rows, Leg Rank::*leg) {
    const bool far =
        input_.node_of[static_cast<size_t>(from)] != input_.node_of[static_cast<size_t>(to)];
    (counts_[layer * ranks_ + from].*leg).out[far] += rows;
    (counts_[layer * ranks_ + to].*leg).in[far] += rows;
  }

  const Input& input_;
  ServingRanks serving_;
  int32_t ranks_;
  Rank* counts_ = nullptr;
  std::vector<double> pairs_on_;  // [ranks] of the row at hand
  std::vector<bool> active_;      // [layers, E, ranks]
};

SampledSteps::SampledSteps(const Input& input) : ranks_(input.table->ranks()) {
  steps_ = std::clamp(kTokens / std::max<int64_t>(input.tokens, 1), kFewestSteps, kMostSteps);
  const int64_t width = int64_t{input.rows->layers} * ranks_;
  counts_.resize(static_cast<size_t>(steps_ * width));
  RowDrawer drawer(input.home_of_row, ranks_, input.seed);
  Counter counter(input);
  for (int64_t step = 0; step < steps_; ++step) {
    counter.begin_step(counts_.data() + step * width);
    for (int64_t token = 0; token < input.tokens; ++token) {
      // Another rank is the first in each step, so that none has the odd token always.
      const auto home = static_cast<int32_t>((token + step) % ranks_);
      counter.add(drawer.row_at(home), home);
    }
  }
}

double SampledSteps::leg_seconds(const Leg& leg, double row_bytes, const ClusterSpec& cluster) {
  const auto way = [&](const double* rows) {
    return rows[0] * row_bytes / cluster.intra_node.bytes_per_s +
           rows[1] * row_bytes / cluster.inter_node.bytes_per_s;
  };
  return std::max(way(leg.out), way(leg.in));
}

SampledSteps::Seconds SampledSteps::seconds(const ClusterSpec& cluster,
                                            const ExpertCost& cost) const {
  Seconds total;
  const double latency = ranks_ == 1 ? 0
                                     : cluster.intra_node.latency_s +
                                           (cluster.nodes() > 1 ? cluster.inter_node.latency_s : 0);
  const auto ranks = static_cast<size_t>(ranks_);
  for (size_t first = 0; first < counts_.size(); first += ranks) {
    double experts = 0, dispatch = 0, combine = 0;
    for (size_t rank = first; rank < first + ranks; ++rank) {
      const Rank& of = counts_[rank];
      experts = std::max({experts, of.pairs * cost.flops / cluster.flops_per_s,
                          of.active * cost.weight_bytes / cluster.weight_bytes_per_s});
      dispatch = std::max(dispatch, leg_seconds(of.dispatch, cost.row_bytes, cluster));
      combine = std::max(combine, leg_seconds(of.combine, cost.row_bytes, cluster));
    }
    total.experts += experts;
    total.dispatch += latency + dispatch;
    total.combine += latency + combine;
  }
  const auto steps = static_cast<double>(steps_);
  return {total.experts / steps, total.dispatch / steps, total.combine / steps};
}

}  // namespace conclave::placement
