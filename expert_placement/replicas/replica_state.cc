#include "expert_placement/replicas/replica_state.h"

#include <algorithm>

namespace conclave::placement {

ReplicaState::ReplicaState(const RoutingRows& rows, Objective objective, Plan plan,
                           std::vector<int32_t> home_of_row, ReplicaLimits limits,
                           const PlacementTable& start)
    : rows_(&rows),
      objective_(objective),
      plan_(plan),
      ranks_(static_cast<size_t>(start.ranks())),
      limits_(std::move(limits)),
      home_(std::move(home_of_row)),
      ranks_per_node_(start.ranks_per_node()),
      node_of_(start.node_of().begin(), start.node_of().end()) {
  const size_t places = static_cast<size_t>(rows.layers) * static_cast<size_t>(rows.experts);
  copy_.assign(places * ranks_, 0);
  copies_.assign(places, 0);
  held_.assign(static_cast<size_t>(rows.layers) * ranks_, 0);
  load_.assign(held_.size(), 0);
  serving_.assign(places * ranks_, 0);
  rows_of_.resize(places);
  // A rank's fair share of one copy each, rounded up, is not "extra".
  const int64_t share =
      (rows.experts + static_cast<int64_t>(ranks_) - 1) / static_cast<int64_t>(ranks_);
  extra_.assign(ranks_, -share * rows.layers);
  for (int32_t layer = 0; layer < rows.layers; ++layer) {
    for (int32_t expert = 0; expert < rows.experts; ++expert) {
      for (int32_t rank : start.holders(layer, expert)) {
        copy_[place(layer, expert) * ranks_ + static_cast<size_t>(rank)] = 1;
        ++copies_[place(layer, expert)];
        ++held_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank)];
        ++extra_[static_cast<size_t>(rank)];
      }
      share_load(layer, expert, 1);
      refresh_serving(layer, expert);
    }
  }
  const auto row_count = static_cast<int32_t>(rows.rows());
  at_.assign(static_cast<size_t>(row_count) * static_cast<size_t>(rows.layers), -1);
  cost_of_.assign(at_.size(), 0);
  for (int32_t row = 0; row < row_count; ++row) {
    for (int32_t layer = 0; layer < rows.layers; ++layer) {
      const auto chosen = rows.at(row, layer);
      const size_t relevant = objective == Objective::kTransitions ? 1 : chosen.size();
      for (size_t i = 0; i < relevant; ++i) rows_of_[place(layer, chosen[i])].push_back(row);
      int32_t from = home_[static_cast<size_t>(row)];
      if (follows() && layer > 0) from = at_[step(row, layer - 1)];
      const int32_t next = serving(layer, chosen[0], from);
      at_[step(row, layer)] = static_cast<int16_t>(next);
      cost_of_[step(row, layer)] = static_cast<uint8_t>(layer_cost(row, layer, from, next));
      cost_ += cost_of_[step(row, layer)];
    }
  }
}

int32_t ReplicaState::layer_cost(int32_t row, int32_t layer, int32_t from, int32_t next) const {
  if (objective_ == Objective::kTransitions) return layer > 0 && next != from;
  const int32_t to = plan_ == Plan::kCoherent ? next : from;
  const auto chosen = rows_->at(row, layer);
  int32_t cost = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const int32_t rank = serving(layer, chosen[i], from);
    bool seen = false;
    for (size_t j = 0; j < i && !seen; ++j) seen = serving(layer, chosen[j], from) == rank;
    if (!seen) cost += (rank != from) + (rank != to);
  }
  return cost;
}

// Follows a row from layer on until its way is the old one again; returns the change of cost.
int64_t ReplicaState::walk(int32_t row, int32_t layer, bool keep) {
  int64_t change = 0;
  int32_t from = home_[static_cast<size_t>(row)];
  if (follows() && layer > 0) from = at_[step(row, layer - 1)];
  for (; layer < rows_->layers; ++layer) {
    const size_t here = step(row, layer);
    const int32_t next = serving(layer, rows_->leader(row, layer), from);
    const int32_t cost = layer_cost(row, layer, from, next);
    const bool same = next == at_[here];
    change += cost - cost_of_[here];
    if (keep) {
      at_[here] = static_cast<int16_t>(next);
      cost_of_[here] = static_cast<uint8_t>(cost);
    }
    if (same || !follows()) break;
    from = next;
  }
  return change;
}

int64_t ReplicaState::walk_all(int32_t layer, std::span<const Edit> edits, bool keep) {
  int64_t change = 0;
  for (size_t i = 0; i < edits.size(); ++i) {
    bool repeated = false;
    for (size_t j = 0; j < i; ++j) repeated = repeated || edits[j].expert == edits[i].expert;
    if (repeated) continue;
    for (int32_t row : rows_of_[place(layer, edits[i].expert)]) {
      bool counted = false;
      if (objective_ == Objective::kMessages && i > 0) {
        const auto chosen = rows_->at(row, layer);
        for (size_t j = 0; j < i && !counted; ++j) {
          counted = std::find(chosen.begin(), chosen.end(),
                              static_cast<uint16_t>(edits[j].expert)) != chosen.end();
        }
      }
      if (!counted) change += walk(row, layer, keep);
    }
  }
  return change;
}

ReplicaState::Trial ReplicaState::attempt(int32_t layer, std::span<const Edit> edits,
                                          int64_t accept) {
  Trial trial;
  if (!fits(layer, edits)) return trial;
  const double excess = layer_excess(layer);
  for (const Edit& edit : edits) apply(layer, edit);
  const double after = layer_excess(layer);
  trial.possible = after <= excess + 1e-9 * limits_.cap[static_cast<size_t>(layer)];
  if (trial.possible) {
    trial.change = walk_all(layer, edits, false);
    trial.accepted = trial.change <= accept;
  }
  if (trial.accepted) {
    walk_all(layer, edits, true);
    cost_ += trial.change;
    return trial;
  }
  for (Edit edit : edits) {
    edit.add = !edit.add;
    apply(layer, edit);
  }
  return trial;
}

// Copies must exist or not as the edits say, each expert keep one, slots and memory suffice.
bool ReplicaState::fits(int32_t layer, std::span<const Edit> edits) const {
  for (size_t i = 0; i < edits.size(); ++i) {
    const Edit& edit = edits[i];
    if (holds(layer, edit.expert, edit.rank) == edit.add) return false;
    int32_t left = copies(layer, edit.expert), held_here = held(layer, edit.rank);
    int64_t extra_here = extra(edit.rank);
    for (const Edit& other : edits) {
      const int32_t sign = other.add ? 1 : -1;
      if (other.expert == edit.expert) left += sign;
      if (other.rank == edit.rank) held_here += sign, extra_here += sign;
    }
    if (left < 1) return false;
    if (edit.add && (held_here > limits_.slots || extra_here > limits_.extra_per_rank))
      return false;
  }
  return true;
}

void ReplicaState::apply(int32_t layer, const Edit& edit) {
  const int32_t sign = edit.add ? 1 : -1;
  const size_t at = place(layer, edit.expert);
  share_load(layer, edit.expert, -1);
  copy_[at * ranks_ + static_cast<size_t>(edit.rank)] = edit.add ? 1 : 0;
  copies_[at] += sign;
  held_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(edit.rank)] += sign;
  extra_[static_cast<size_t>(edit.rank)] += sign;
  share_load(layer, edit.expert, 1);
  if (copies_[at] > 0) refresh_serving(layer, edit.expert);
}

void ReplicaState::share_load(int32_t layer, int32_t expert, double sign) {
  const size_t at = place(layer, expert);
  if (copies_[at] == 0) return;
  const double share = sign * limits_.loads[at] / copies_[at];
  for (size_t rank = 0; rank < ranks_; ++rank) {
    if (copy_[at * ranks_ + rank] != 0) load_[static_cast<size_t>(layer) * ranks_ + rank] += share;
  }
}

void ReplicaState::refresh_serving(int32_t layer, int32_t expert) {
  const size_t at = place(layer, expert) * ranks_;
  holders_.clear();
  for (size_t rank = 0; rank < ranks_; ++rank) {
    if (copy_[at + rank] != 0) holders_.push_back(static_cast<int32_t>(rank));
  }
  for (size_t rank = 0; rank < ranks_; ++rank) {
    serving_[at + rank] =
        static_cast<int16_t>(serving_rank(holders_, static_cast<int32_t>(rank), node_of_));
  }
}

double ReplicaState::layer_excess(int32_t layer) const {
  double excess = 0;
  const double cap = limits_.cap[static_cast<size_t>(layer)] * (1 + 1e-9);
  for (size_t rank = 0; rank < ranks_; ++rank) {
    excess += std::max(0.0, load_[static_cast<size_t>(layer) * ranks_ + rank] - cap);
  }
  return excess;
}

double ReplicaState::excess() const {
  double excess = 0;
  for (int32_t layer = 0; layer < rows_->layers; ++layer) excess += layer_excess(layer);
  return excess;
}

PlacementTable ReplicaState::table(std::vector<int32_t> moe_layers) const {
  std::vector<std::vector<std::vector<int32_t>>> holders(static_cast<size_t>(rows_->layers));
  for (int32_t layer = 0; layer < rows_->layers; ++layer) {
    for (int32_t expert = 0; expert < rows_->experts; ++expert) {
      std::vector<int32_t> ranks_of;
      for (int32_t rank = 0; rank < ranks(); ++rank) {
        if (holds(layer, expert, rank)) ranks_of.push_back(rank);
      }
      holders[static_cast<size_t>(layer)].push_back(std::move(ranks_of));
    }
  }
  // Cannot fail: every expert keeps a copy and ranks ascend.
  PlacementTable table =
      *PlacementTable::from_holders(std::move(moe_layers), rows_->experts, ranks(), holders);
  table.set_ranks_per_node(ranks_per_node_);
  return table;
}

}  // namespace conclave::placement
