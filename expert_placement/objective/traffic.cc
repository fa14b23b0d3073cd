#include "expert_placement/objective/traffic.h"

#include <algorithm>

#include "expert_placement/objective/serving_ranks.h"

namespace conclave::placement {
namespace {

class Counter {
 public:
  Counter(const RoutingRows& rows, const PlacementTable& table, Plan plan)
      : rows_(rows),
        plan_(plan),
        serving_(table),
        pairs_on_(static_cast<size_t>(table.ranks()), 0) {
    const auto ranks = static_cast<size_t>(table.ranks());
    traffic_.rows = rows.rows();
    traffic_.layers = rows.layers;
    traffic_.ranks = table.ranks();
    traffic_.transitions = rows.rows() * (rows.layers - 1);
    traffic_.load.assign(static_cast<size_t>(rows.layers) * ranks, 0);
    traffic_.dispatched_between.assign(ranks * ranks, 0);
    traffic_.returned_rows_between.assign(ranks * ranks, 0);
  }

  void count_row(int64_t row, int32_t home) {
    int32_t leader_at = home;  // where a token that follows its leading expert is
    for (int32_t layer = 0; layer < rows_.layers; ++layer) {
      const int32_t leader = rows_.leader(row, layer);
      const int32_t next = serving_(layer, leader, leader_at);
      if (layer > 0 && next != leader_at) ++traffic_.crossings;
      if (plan_ == Plan::kFixed) {
        exchange(row, layer, home, home);
      } else {
        exchange(row, layer, leader_at, next);
        traffic_.moves += next != leader_at;
      }
      leader_at = next;
    }
  }
  Traffic take() { return std::move(traffic_); }

 private:
  // From `from` to the experts and on to `to`.
  void exchange(int64_t row, int32_t layer, int32_t from, int32_t to) {
    const auto ranks = static_cast<size_t>(traffic_.ranks);
    for (uint16_t expert : rows_.at(row, layer)) {
      const auto rank = static_cast<size_t>(serving_(layer, expert, from));
      ++traffic_.load[static_cast<size_t>(layer) * ranks + rank];
      if (pairs_on_[rank]++ == 0) touched_.push_back(static_cast<int32_t>(rank));
    }
    for (int32_t rank : touched_) {
      const auto at = static_cast<size_t>(rank);
      if (rank != from) {
        ++traffic_.dispatched;
        ++traffic_.dispatched_between[static_cast<size_t>(from) * ranks + at];
      }
      if (rank != to) {
        ++traffic_.returned;
        traffic_.returned_rows += pairs_on_[at];
        traffic_.returned_rows_between[at * ranks + static_cast<size_t>(to)] += pairs_on_[at];
      }
      pairs_on_[at] = 0;
    }
    touched_.clear();
  }

  const RoutingRows& rows_;
  Plan plan_;
  ServingRanks serving_;
  std::vector<int64_t> pairs_on_;  // [ranks]
  std::vector<int32_t> touched_;
  Traffic traffic_;
};

std::vector<double> max_over_mean(std::span<const double> load, size_t ranks) {
  std::vector<double> balance;
  for (size_t begin = 0; begin < load.size(); begin += ranks) {
    double total = 0, most = 0;
    for (double value : load.subspan(begin, ranks)) {
      total += value;
      most = std::max(most, value);
    }
    balance.push_back(total > 0 ? most * static_cast<double>(ranks) / total : 1);
  }
  return balance;
}

}  // namespace

double Traffic::messages_per_token_layer() const {
  const double token_layers = static_cast<double>(rows) * layers;
  return token_layers > 0 ? static_cast<double>(dispatched + returned) / token_layers : 0;
}

double Traffic::crossing_share() const {
  return transitions > 0 ? static_cast<double>(crossings) / static_cast<double>(transitions) : 0;
}

std::vector<double> Traffic::balance() const {
  const std::vector<double> loads(load.begin(), load.end());
  return max_over_mean(loads, static_cast<size_t>(ranks));
}

double Traffic::bytes(double row_bytes) const {
  return static_cast<double>(dispatched + returned_rows + moves) * row_bytes;
}

Traffic count_traffic(const RoutingRows& rows, const PlacementTable& table, Plan plan,
                      std::span<const int32_t> home_of_row) {
  Counter counter(rows, table, plan);
  for (int64_t row = 0; row < rows.rows(); ++row)
    counter.count_row(row, home_of_row[static_cast<size_t>(row)]);
  return counter.take();
}

namespace {

// Where the tokens led by each expert are, layer by layer, as a Markov chain of the profile's
// transitions with the nearest copy serving.
class LeaderWalk {
 public:
  LeaderWalk(const RoutingProfile& profile, const PlacementTable& table)
      : profile_(profile),
        table_(table),
        serving_(table),
        experts_(static_cast<size_t>(profile.experts())),
        ranks_(static_cast<size_t>(table.ranks())),
        at_(experts_ * ranks_, 0) {
    for (size_t expert = 0; expert < experts_; ++expert) {
      const auto holders = table.holders(0, static_cast<int32_t>(expert));
      for (int32_t rank : holders)
        at_[expert * ranks_ + static_cast<size_t>(rank)] = 1.0 / static_cast<double>(holders.size());
    }
  }

  // [E, ranks]: share of the tokens led by e in this layer that are on the rank.
  const std::vector<double>& at() const { return at_; }

  // On to the next layer; visit(weight, from rank, to rank) of every way that is taken.
  template <typename Visit>
  void advance(const Visit& visit) {
    const auto weights = profile_.transitions(layer_++);
    std::vector<double> arriving(experts_ * ranks_, 0);
    for (size_t from = 0; from < experts_; ++from) {
      for (size_t to = 0; to < experts_; ++to) {
        const double weight = weights[from * experts_ + to];
        if (weight == 0) continue;
        for (size_t rank = 0; rank < ranks_; ++rank) {
          const double here = weight * at_[from * ranks_ + rank];
          if (here == 0) continue;
          const auto next = static_cast<size_t>(
              serving_(layer_, static_cast<int32_t>(to), static_cast<int32_t>(rank)));
          visit(here, rank, next);
          arriving[to * ranks_ + next] += here;
        }
      }
    }
    for (size_t expert = 0; expert < experts_; ++expert) settle(expert, arriving);
  }

 private:
  // An expert that nobody came to counts on its first holder.
  void settle(size_t expert, const std::vector<double>& arriving) {
    const auto first =
        static_cast<size_t>(table_.holders(layer_, static_cast<int32_t>(expert))[0]);
    double sum = 0;
    for (size_t rank = 0; rank < ranks_; ++rank) sum += arriving[expert * ranks_ + rank];
    for (size_t rank = 0; rank < ranks_; ++rank) {
      at_[expert * ranks_ + rank] =
          sum > 0 ? arriving[expert * ranks_ + rank] / sum : (rank == first ? 1 : 0);
    }
  }

  const RoutingProfile& profile_;
  const PlacementTable& table_;
  ServingRanks serving_;
  size_t experts_, ranks_;
  std::vector<double> at_;
  int32_t layer_ = 0;
};

}  // namespace

CrossingShare crossing_share(const RoutingProfile& profile, const PlacementTable& table,
                             std::span<const int32_t> node_of) {
  LeaderWalk walk(profile, table);
  CrossingShare crossing;
  double total = 0;
  for (int32_t layer = 0; layer + 1 < profile.layers(); ++layer) {
    walk.advance([&](double weight, size_t from, size_t to) {
      total += weight;
      if (to != from) crossing.ranks += weight;
      if (!node_of.empty() && node_of[from] != node_of[to]) crossing.nodes += weight;
    });
  }
  if (total <= 0) return {};
  return {crossing.ranks / total, crossing.nodes / total};
}

std::vector<double> leader_positions(const RoutingProfile& profile, const PlacementTable& table,
                                     int32_t layer) {
  LeaderWalk walk(profile, table);
  for (int32_t l = 0; l < layer; ++l) walk.advance([](double, size_t, size_t) {});
  return walk.at();
}

std::vector<double> profile_balance(const RoutingProfile& profile, const PlacementTable& table) {
  const auto ranks = static_cast<size_t>(table.ranks());
  std::vector<double> load(static_cast<size_t>(profile.layers()) * ranks, 0);
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    for (int32_t expert = 0; expert < profile.experts(); ++expert) {
      const auto holders = table.holders(layer, expert);
      for (int32_t rank : holders) {
        load[static_cast<size_t>(layer) * ranks + static_cast<size_t>(rank)] +=
            profile.loads(layer)[static_cast<size_t>(expert)] / static_cast<double>(holders.size());
      }
    }
  }
  return max_over_mean(load, ranks);
}

}  // namespace conclave::placement
