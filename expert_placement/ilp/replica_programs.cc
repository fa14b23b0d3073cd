#include "expert_placement/ilp/replica_programs.h"

#include <algorithm>

#include "expert_placement/objective/traffic.h"

namespace conclave::placement {
namespace {

constexpr double kInfinity = 1e30;

bool holds(const PlacementTable& table, int32_t layer, int32_t expert, int32_t rank) {
  const auto holders = table.holders(layer, expert);
  return std::find(holders.begin(), holders.end(), rank) != holders.end();
}

// Weight of the transitions that touch an expert of the layer, by rank: of those into it by where
// the token comes from, of those out of it by where the next leading expert has a copy. [E, ranks]
struct Pull {
  std::vector<double> in, out;
};
Pull pull_on(const ReplicaLayer& input) {
  const RoutingProfile& profile = *input.profile;
  const auto experts = static_cast<size_t>(profile.experts());
  const auto ranks = static_cast<size_t>(input.table->ranks());
  Pull pull{std::vector<double>(experts * ranks, 0), std::vector<double>(experts * ranks, 0)};
  if (input.layer > 0) {
    const std::vector<double> at = leader_positions(profile, *input.table, input.layer - 1);
    const auto weights = profile.transitions(input.layer - 1);
    for (size_t from = 0; from < experts; ++from) {
      for (size_t to = 0; to < experts; ++to) {
        for (size_t rank = 0; rank < ranks; ++rank)
          pull.in[to * ranks + rank] += weights[from * experts + to] * at[from * ranks + rank];
      }
    }
  }
  if (input.layer + 1 < profile.layers()) {
    const auto weights = profile.transitions(input.layer);
    for (size_t from = 0; from < experts; ++from) {
      for (size_t to = 0; to < experts; ++to) {
        for (int32_t rank : input.table->holders(input.layer + 1, static_cast<int32_t>(to)))
          pull.out[from * ranks + static_cast<size_t>(rank)] += weights[from * experts + to];
      }
    }
  }
  return pull;
}

class Program {
 public:
  explicit Program(const ReplicaLayer& input)
      : input_(input),
        experts_(input.profile->experts()),
        ranks_(input.table->ranks()),
        pull_(pull_on(input)) {}

  MipModel build() {
    add_columns();
    for (int32_t expert = 0; expert < experts_; ++expert) add_expert(expert);
    for (int32_t rank = 0; rank < ranks_; ++rank) add_rank(rank);
    if (input_.moves >= 0) add_budget();
    return std::move(model_);
  }

 private:
  int32_t x(int32_t expert, int32_t rank) const { return expert * ranks_ + rank; }
  int32_t r(int32_t expert, int32_t rank) const { return (experts_ + expert) * ranks_ + rank; }
  double load(int32_t expert) const {
    return input_.profile->loads(input_.layer)[static_cast<size_t>(expert)];
  }

  void add_columns() {
    for (const double gain : pull_.in) model_.columns.push_back({0, 1, gain, true});
    for (const double gain : pull_.out) model_.columns.push_back({0, 1, gain, false});
    for (int32_t expert = 0; expert < experts_; ++expert) {
      for (int32_t rank = 0; rank < ranks_; ++rank)
        model_.start.push_back(holds(*input_.table, input_.layer, expert, rank) ? 1 : 0);
    }
    for (int32_t expert = 0; expert < experts_; ++expert) {
      const auto holders = input_.table->holders(input_.layer, expert);
      for (int32_t rank = 0; rank < ranks_; ++rank) {
        const bool here = model_.start[static_cast<size_t>(x(expert, rank))] > 0;
        model_.start.push_back(here ? 1.0 / static_cast<double>(holders.size()) : 0);
      }
    }
  }

  // A copy at least; every token served; by a copy; those that are there already by that one.
  void add_expert(int32_t expert) {
    MipModel::Row copies{1, kInfinity, {}}, served{1, 1, {}};
    double arriving = 0;
    for (int32_t rank = 0; rank < ranks_; ++rank)
      arriving += pull_.in[static_cast<size_t>(x(expert, rank))];
    for (int32_t rank = 0; rank < ranks_; ++rank) {
      copies.entries.push_back({x(expert, rank), 1});
      served.entries.push_back({r(expert, rank), 1});
      model_.rows.push_back({-kInfinity, 0, {{r(expert, rank), 1}, {x(expert, rank), -1}}});
      if (arriving <= 0) continue;
      const double own = pull_.in[static_cast<size_t>(x(expert, rank))] / arriving;
      model_.rows.push_back({0, kInfinity, {{r(expert, rank), 1}, {x(expert, rank), -own}}});
    }
    model_.rows.push_back(std::move(copies));
    model_.rows.push_back(std::move(served));
  }

  void add_rank(int32_t rank) {
    MipModel::Row room{0, 0, {}}, carried{-kInfinity, input_.cap * (1 + 1e-9), {}};
    for (int32_t expert = 0; expert < experts_; ++expert) {
      room.upper += model_.start[static_cast<size_t>(x(expert, rank))];
      room.entries.push_back({x(expert, rank), 1});
      carried.entries.push_back({r(expert, rank), load(expert)});
    }
    model_.rows.push_back(std::move(room));
    model_.rows.push_back(std::move(carried));
  }

  void add_budget() {
    MipModel::Row arrivals{0, static_cast<double>(input_.moves), {}};
    for (int32_t expert = 0; expert < experts_; ++expert) {
      for (int32_t rank = 0; rank < ranks_; ++rank) {
        if (!holds(*input_.home, input_.layer, expert, rank))
          arrivals.entries.push_back({x(expert, rank), 1});
      }
    }
    model_.rows.push_back(std::move(arrivals));
  }

  const ReplicaLayer& input_;
  int32_t experts_, ranks_;
  Pull pull_;
  MipModel model_;
};

}  // namespace

MipModel replica_layer_program(const ReplicaLayer& input) { return Program(input).build(); }

std::vector<std::vector<int32_t>> read_holders(const ReplicaLayer& input,
                                               const std::vector<double>& values) {
  const int32_t ranks = input.table->ranks();
  std::vector<std::vector<int32_t>> holders(static_cast<size_t>(input.profile->experts()));
  for (size_t expert = 0; expert < holders.size(); ++expert) {
    for (int32_t rank = 0; rank < ranks; ++rank) {
      if (values[expert * static_cast<size_t>(ranks) + static_cast<size_t>(rank)] > 0.5)
        holders[expert].push_back(rank);
    }
  }
  return holders;
}

}  // namespace conclave::placement
