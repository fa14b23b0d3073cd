#include "expert_placement/objective/traffic.h"

#include <algorithm>

namespace conclave::placement {
namespace {

// Who serves (layer, expert) for a token on a rank, unfolded: holders are searched once, not per
// row.
class ServingRanks {
 public:
  explicit ServingRanks(const PlacementTable& table)
      : experts_(table.experts()), ranks_(table.ranks()) {
    serving_.reserve(static_cast<size_t>(table.layers()) * static_cast<size_t>(experts_) *
                     static_cast<size_t>(ranks_));
    for (int32_t layer = 0; layer < table.layers(); ++layer) {
      for (int32_t expert = 0; expert < experts_; ++expert) {
        for (int32_t from = 0; from < ranks_; ++from)
          serving_.push_back(table.serving_rank(layer, expert, from));
      }
    }
  }
  int32_t operator()(int32_t layer, int32_t expert, int32_t from) const {
    return serving_[(static_cast<size_t>(layer) * static_cast<size_t>(experts_) +
                     static_cast<size_t>(expert)) *
                        static_cast<size_t>(ranks_) +
                    static_cast<size_t>(from)];
  }

 private:
  int32_t experts_, ranks_;
  std::vector<int32_t> serving_;
};

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

CrossingShare crossing_share(const RoutingProfile& profile, const PlacementTable& table,
                             std::span<const int32_t> node_of) {
  const auto experts = static_cast<size_t>(profile.experts());
  const auto ranks = static_cast<size_t>(table.ranks());
  const ServingRanks serving(table);
  CrossingShare crossing;
  double total = 0;
  // at[e, g]: share of the tokens led by e in this layer that are on rank g.
  std::vector<double> at(experts * ranks, 0);
  for (size_t expert = 0; expert < experts; ++expert) {
    const auto holders = table.holders(0, static_cast<int32_t>(expert));
    for (int32_t rank : holders)
      at[expert * ranks + static_cast<size_t>(rank)] = 1.0 / static_cast<double>(holders.size());
  }
  for (int32_t layer = 0; layer + 1 < profile.layers(); ++layer) {
    const auto weights = profile.transitions(layer);
    std::vector<double> arriving(experts * ranks, 0);
    for (size_t from = 0; from < experts; ++from) {
      for (size_t to = 0; to < experts; ++to) {
        const double weight = weights[from * experts + to];
        if (weight == 0) continue;
        total += weight;
        for (size_t rank = 0; rank < ranks; ++rank) {
          const double here = weight * at[from * ranks + rank];
          if (here == 0) continue;
          const int32_t next =
              serving(layer + 1, static_cast<int32_t>(to), static_cast<int32_t>(rank));
          if (next != static_cast<int32_t>(rank)) crossing.ranks += here;
          if (!node_of.empty() && node_of[rank] != node_of[static_cast<size_t>(next)])
            crossing.nodes += here;
          arriving[to * ranks + static_cast<size_t>(next)] += here;
        }
      }
    }
    for (size_t expert = 0; expert < experts; ++expert) {
      double sum = 0;
      for (size_t rank = 0; rank < ranks; ++rank) sum += arriving[expert * ranks + rank];
      for (size_t rank = 0; rank < ranks; ++rank) {
        const bool first =
            table.holders(layer + 1, static_cast<int32_t>(expert))[0] == static_cast<int32_t>(rank);
        at[expert * ranks + rank] =
            sum > 0 ? arriving[expert * ranks + rank] / sum : (first ? 1 : 0);
      }
    }
  }
  if (total <= 0) return {};
  return {crossing.ranks / total, crossing.nodes / total};
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
