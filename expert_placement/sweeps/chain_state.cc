#include <algorithm>
#include <numeric>

#include "expert_placement/sweeps/chain_search.h"

namespace conclave::placement {

ChainState::ChainState(const ChainInstance& instance, const Assignment& start)
    : instance_(&instance),
      ranks_(instance.slots.size()),
      padded_(std::accumulate(instance.slots.begin(), instance.slots.end(), 0)) {
  const auto experts = static_cast<size_t>(instance.experts);
  const auto layers = static_cast<size_t>(instance.layers);
  const auto places = layers * static_cast<size_t>(padded_);
  rank_of_.assign(places, 0);
  attraction_.assign(places * ranks_, 0);
  load_of_.assign(places, 0);
  load_.assign(layers * ranks_, 0);
  transposed_.resize(instance.weights.size());
  for (size_t layer = 0; layer + 1 < layers; ++layer) {
    for (size_t from = 0; from < experts; ++from) {
      for (size_t to = 0; to < experts; ++to) {
        transposed_[(layer * experts + to) * experts + from] =
            instance.weights[(layer * experts + from) * experts + to];
      }
    }
  }
  for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
    const auto same = std::equal_range(instance.node_of.begin(), instance.node_of.end(),
                                       instance.node_of[static_cast<size_t>(rank)]);
    node_begin_.push_back(static_cast<int32_t>(same.first - instance.node_of.begin()));
    node_end_.push_back(static_cast<int32_t>(same.second - instance.node_of.begin()));
  }
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    std::vector<int32_t> room = instance.slots;
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      const int32_t rank = start.at(layer, expert);
      rank_of_[slot(layer, expert)] = rank;
      --room[static_cast<size_t>(rank)];
      load_of_[slot(layer, expert)] = instance.load(layer, expert);
      load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank)] +=
          instance.load(layer, expert);
    }
    int32_t dummy = instance.experts;
    for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
      for (; room[static_cast<size_t>(rank)] > 0; --room[static_cast<size_t>(rank)])
        rank_of_[slot(layer, dummy++)] = rank;
    }
  }
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert)
      shift(layer, expert, -1, rank(layer, expert));
  }
}

double ChainState::swap_gain(int32_t layer, int32_t a, int32_t b) const {
  const double* of_a = attraction_.data() + slot(layer, a) * ranks_;
  const double* of_b = attraction_.data() + slot(layer, b) * ranks_;
  const int32_t rank_a = rank(layer, a), rank_b = rank(layer, b);
  return of_a[rank_b] + of_b[rank_a] - of_a[rank_a] - of_b[rank_b];
}

double ChainState::swap_excess(int32_t layer, int32_t a, int32_t b) const {
  const double cap = instance_->cap[static_cast<size_t>(layer)];
  const double* load = load_.data() + static_cast<size_t>(layer) * ranks_;
  const double moved = load_of_[slot(layer, a)] - load_of_[slot(layer, b)];
  const double at_a = load[rank(layer, a)], at_b = load[rank(layer, b)];
  const auto over = [cap](double value) { return std::max(0.0, value - cap); };
  return over(at_a - moved) + over(at_b + moved) - over(at_a) - over(at_b);
}

void ChainState::swap(int32_t layer, int32_t a, int32_t b) {
  const int32_t rank_a = rank(layer, a), rank_b = rank(layer, b);
  const double moved = load_of_[slot(layer, a)] - load_of_[slot(layer, b)];
  load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank_a)] -= moved;
  load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank_b)] += moved;
  rank_of_[slot(layer, a)] = rank_b;
  rank_of_[slot(layer, b)] = rank_a;
  if (a < instance_->experts) shift(layer, a, rank_a, rank_b);
  if (b < instance_->experts) shift(layer, b, rank_b, rank_a);
}

void ChainState::set_layer(int32_t layer, const std::vector<int32_t>& rank_of) {
  std::vector<int32_t> room = instance_->slots;
  for (int32_t expert = 0; expert < instance_->experts; ++expert) {
    const int32_t from = rank(layer, expert), to = rank_of[static_cast<size_t>(expert)];
    --room[static_cast<size_t>(to)];
    if (from == to) continue;
    const double load = load_of_[slot(layer, expert)];
    load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(from)] -= load;
    load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(to)] += load;
    rank_of_[slot(layer, expert)] = to;
    shift(layer, expert, from, to);
  }
  int32_t dummy = instance_->experts;
  for (int32_t rank = 0; rank < instance_->ranks(); ++rank) {
    for (; room[static_cast<size_t>(rank)] > 0; --room[static_cast<size_t>(rank)])
      rank_of_[slot(layer, dummy++)] = rank;
  }
}

// The neighbours of a moved expert feel it pull from another rank. from -1: it was nowhere.
void ChainState::shift(int32_t layer, int32_t expert, int32_t from, int32_t to) {
  const auto experts = static_cast<size_t>(instance_->experts);
  if (layer + 1 < instance_->layers) {
    const double* row = instance_->weight(layer, expert);
    for (int32_t other = 0; other < instance_->experts; ++other) {
      if (row[other] != 0) pull(layer + 1, other, row[other], from, to);
    }
  }
  if (layer > 0) {
    const double* column =
        transposed_.data() +
        (static_cast<size_t>(layer - 1) * experts + static_cast<size_t>(expert)) * experts;
    for (int32_t other = 0; other < instance_->experts; ++other) {
      if (column[other] != 0) pull(layer - 1, other, column[other], from, to);
    }
  }
}

void ChainState::pull(int32_t layer, int32_t expert, double weight, int32_t from, int32_t to) {
  double* attraction = attraction_.data() + slot(layer, expert) * ranks_;
  const double near = instance_->same_node_value;
  if (near == 0) {
    if (from >= 0) attraction[from] -= weight;
    attraction[to] += weight;
    return;
  }
  const auto add = [&](int32_t rank, double amount) {
    for (int32_t other = node_begin_[static_cast<size_t>(rank)];
         other < node_end_[static_cast<size_t>(rank)]; ++other) {
      attraction[other] += amount * near;
    }
    attraction[rank] += amount * (1 - near);
  };
  if (from >= 0) add(from, -weight);
  add(to, weight);
}

double ChainState::excess() const { return excess_load(*instance_, load_); }

Assignment ChainState::assignment() const {
  return assignment_of(*instance_,
                       [this](int32_t layer, int32_t expert) { return rank(layer, expert); });
}

}  // namespace conclave::placement
