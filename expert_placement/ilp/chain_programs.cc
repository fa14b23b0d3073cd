#include "expert_placement/ilp/chain_programs.h"

#include <algorithm>
#include <numeric>

namespace conclave::placement {
namespace {

constexpr double kInfinity = 1e30;

int32_t x_column(const ChainInstance& instance, int32_t layer, int32_t expert, int32_t rank) {
  return (layer * instance.experts + expert) * instance.ranks() + rank;
}

// Each expert once, slots and cap of every rank, for one layer whose x begin at column `first`.
void add_layer_rows(const ChainInstance& instance, int32_t layer, int32_t first, MipModel* model) {
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    MipModel::Row once{1, 1, {}};
    for (int32_t rank = 0; rank < instance.ranks(); ++rank)
      once.entries.push_back({first + expert * instance.ranks() + rank, 1});
    model->rows.push_back(std::move(once));
  }
  const bool full =
      std::accumulate(instance.slots.begin(), instance.slots.end(), 0) == instance.experts;
  for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
    const double slots = instance.slots[static_cast<size_t>(rank)];
    MipModel::Row room{full ? slots : 0, slots, {}};
    MipModel::Row load{-kInfinity, instance.cap[static_cast<size_t>(layer)] * (1 + 1e-9), {}};
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      const int32_t column = first + expert * instance.ranks() + rank;
      room.entries.push_back({column, 1});
      load.entries.push_back({column, instance.load(layer, expert)});
    }
    model->rows.push_back(std::move(room));
    model->rows.push_back(std::move(load));
  }
}

// q of the transitions layer -> layer + 1 on one rank, with its link and RLT rows.
void add_kept(const ChainInstance& instance, int32_t layer, int32_t rank, MipModel* model) {
  const auto first = static_cast<int32_t>(model->columns.size());
  const int32_t experts = instance.experts;
  for (int32_t i = 0; i < experts; ++i) {
    for (int32_t j = 0; j < experts; ++j)
      model->columns.push_back({0, 1, instance.weight(layer, i)[j], false});
  }
  const double slots = instance.slots[static_cast<size_t>(rank)];
  for (int32_t i = 0; i < experts; ++i) {
    MipModel::Row from{-kInfinity, 0, {{x_column(instance, layer, i, rank), -slots}}};
    MipModel::Row to{-kInfinity, 0, {{x_column(instance, layer + 1, i, rank), -slots}}};
    for (int32_t j = 0; j < experts; ++j) {
      const int32_t q = first + i * experts + j;
      from.entries.push_back({q, 1});
      to.entries.push_back({first + j * experts + i, 1});
      model->rows.push_back({-kInfinity, 0, {{q, 1}, {x_column(instance, layer, i, rank), -1}}});
      model->rows.push_back(
          {-kInfinity, 0, {{q, 1}, {x_column(instance, layer + 1, j, rank), -1}}});
    }
    model->rows.push_back(std::move(from));
    model->rows.push_back(std::move(to));
  }
}

}  // namespace

MipModel whole_chain_program(const ChainInstance& instance) {
  MipModel model;
  model.columns.assign(static_cast<size_t>(instance.layers * instance.experts * instance.ranks()),
                       {0, 1, 0, true});
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    add_layer_rows(instance, layer, x_column(instance, layer, 0, 0), &model);
  }
  // Ranks are interchangeable: expert e of the first layer needs no rank above e.
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    for (int32_t rank = expert + 1; rank < instance.ranks(); ++rank) {
      model.columns[static_cast<size_t>(x_column(instance, 0, expert, rank))].upper = 0;
    }
  }
  for (int32_t layer = 0; layer + 1 < instance.layers; ++layer) {
    for (int32_t rank = 0; rank < instance.ranks(); ++rank) add_kept(instance, layer, rank, &model);
  }
  return model;
}

std::vector<double> point_of(const ChainInstance& instance, const Assignment& assignment) {
  std::vector<int32_t> name(static_cast<size_t>(instance.ranks()), -1);
  int32_t next = 0;
  for (const int32_t rank : assignment.rank_of) {
    int32_t& new_name = name[static_cast<size_t>(rank)];
    if (new_name < 0) new_name = next++;
  }
  const auto on = [&](int32_t layer, int32_t expert, int32_t rank) -> double {
    return name[static_cast<size_t>(assignment.at(layer, expert))] == rank ? 1 : 0;
  };
  std::vector<double> point;
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      for (int32_t rank = 0; rank < instance.ranks(); ++rank)
        point.push_back(on(layer, expert, rank));
    }
  }
  for (int32_t layer = 0; layer + 1 < instance.layers; ++layer) {
    for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
      for (int32_t i = 0; i < instance.experts; ++i) {
        for (int32_t j = 0; j < instance.experts; ++j)
          point.push_back(on(layer, i, rank) * on(layer + 1, j, rank));
      }
    }
  }
  return point;
}

Assignment read_assignment(const ChainInstance& instance, const std::vector<double>& values) {
  Assignment assignment{instance.experts, {}};
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      const auto first = values.begin() + x_column(instance, layer, expert, 0);
      assignment.rank_of.push_back(
          static_cast<int32_t>(std::max_element(first, first + instance.ranks()) - first));
    }
  }
  return assignment;
}

MipModel assignment_program(const ChainInstance& instance, int32_t layer,
                            const std::function<double(int32_t expert, int32_t rank)>& gain,
                            const std::function<int32_t(int32_t expert)>& start,
                            std::optional<LayerBudget> budget) {
  MipModel model;
  MipModel::Row stay{0, kInfinity, {}};
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
      if (budget && budget->home[expert] == rank)
        stay.entries.push_back({static_cast<int32_t>(model.columns.size()), 1});
      model.columns.push_back({0, 1, gain(expert, rank), true});
      model.start.push_back(start(expert) == rank ? 1 : 0);
    }
  }
  add_layer_rows(instance, layer, 0, &model);
  if (budget) {
    stay.lower = static_cast<double>(instance.experts - budget->moves);
    model.rows.push_back(std::move(stay));
  }
  return model;
}

std::vector<int32_t> read_layer(const ChainInstance& instance, const std::vector<double>& values) {
  std::vector<int32_t> rank_of;
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    const auto first = values.begin() + static_cast<int64_t>(expert) * instance.ranks();
    rank_of.push_back(
        static_cast<int32_t>(std::max_element(first, first + instance.ranks()) - first));
  }
  return rank_of;
}

MipModel one_layer_program(const ChainState& state, int32_t layer,
                           std::optional<LayerBudget> budget) {
  return assignment_program(
      state.instance(), layer,
      [&](int32_t expert, int32_t rank) { return state.attraction(layer, expert, rank); },
      [&](int32_t expert) { return state.rank(layer, expert); }, budget);
}

namespace {

// What the other layers leave of the budget for this one.
std::optional<LayerBudget> budget_of(const ChainState& state, int32_t layer,
                                     const std::optional<MoveBudget>& budget) {
  if (!budget) return std::nullopt;
  const ChainInstance& instance = state.instance();
  int64_t left = budget->moves;
  for (int32_t l = 0; l < instance.layers; ++l) {
    for (int32_t expert = 0; l != layer && expert < instance.experts; ++expert)
      left -= state.rank(l, expert) != budget->home->at(l, expert);
  }
  const size_t first = static_cast<size_t>(layer) * static_cast<size_t>(instance.experts);
  return LayerBudget{budget->home->rank_of.data() + first, left};
}

// One layer through CBC; true if it keeps more.
bool improve_layer(int32_t layer, double seconds, const std::optional<MoveBudget>& budget,
                   ChainState* state) {
  const ChainInstance& instance = state->instance();
  const MipResult result =
      solve_mip(one_layer_program(*state, layer, budget_of(*state, layer, budget)), seconds);
  if (result.status == MipStatus::kNothing) return false;
  const std::vector<int32_t> after = read_layer(instance, result.values);
  std::vector<int32_t> before;
  double gain = 0;
  for (int32_t expert = 0; expert < instance.experts; ++expert) {
    before.push_back(state->rank(layer, expert));
    gain += state->attraction(layer, expert, after[static_cast<size_t>(expert)]) -
            state->attraction(layer, expert, before.back());
  }
  if (gain <= 1e-9 * std::max(1.0, result.objective)) return false;
  const double excess = state->excess();
  state->set_layer(layer, after);
  if (state->excess() <= excess) return true;
  state->set_layer(layer, before);
  return false;
}

}  // namespace

int32_t improve_layers(const SearchClock& clock, double seconds_per_layer, ChainState* state,
                       std::optional<MoveBudget> budget) {
  const int32_t layers = state->instance().layers;
  int32_t improved = 0;
  int32_t without_gain = 0;
  for (int32_t layer = 0; without_gain < layers && !clock.expired();
       layer = (layer + 1) % layers) {
    const double seconds = std::min(seconds_per_layer, clock.remaining() - 0.6);
    ++without_gain;
    if (!improve_layer(layer, seconds, budget, state)) continue;
    ++improved;
    without_gain = 0;
  }
  return improved;
}

}  // namespace conclave::placement
