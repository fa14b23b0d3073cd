#include "expert_placement/sweeps/chain_state.h"

#include <algorithm>
#include <numeric>

namespace conclave::placement {

ChainState::ChainState(const ChainInstance& instance, const Assignment& start)
    : instance_(&instance),
      ranks_(instance.slots.size()),
      padded_(std::accumulate(instance.slots.begin(), instance.slots.end(), 0)) {
  const auto experts = static_cast<size_t>(instance.experts);
  const auto layers = static_cast<size_t>(instance.layers);
  load_of_.assign(layers * static_cast<size_t>(padded_), 0);
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert)
      load_of_[slot(layer, expert)] = instance.load(layer, expert);
  }
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
  reset(start);
}

void ChainState::reset(const Assignment& start) {
  const auto layers = static_cast<size_t>(instance_->layers);
  rank_of_.assign(load_of_.size(), 0);
  attraction_.assign(load_of_.size() * ranks_, 0);
  load_.assign(layers * ranks_, 0);
  for (int32_t layer = 0; layer < instance_->layers; ++layer) {
    std::vector<int32_t> room = instance_->slots;
    for (int32_t expert = 0; expert < instance_->experts; ++expert) {
      const int32_t rank = start.at(layer, expert);
      rank_of_[slot(layer, expert)] = rank;
      --room[static_cast<size_t>(rank)];
      load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank)] +=
          load_of_[slot(layer, expert)];
      place(layer, expert, rank, 1);
    }
    fill_dummies(layer, std::move(room));
  }
}

void ChainState::fill_dummies(int32_t layer, std::vector<int32_t> room) {
  int32_t dummy = instance_->experts;
  for (int32_t rank = 0; rank < instance_->ranks(); ++rank) {
    for (; room[static_cast<size_t>(rank)] > 0; --room[static_cast<size_t>(rank)])
      rank_of_[slot(layer, dummy++)] = rank;
  }
}

double ChainState::swap_gain(int32_t layer, int32_t a, int32_t b) const {
  const double* with_a = attractions(layer, rank(layer, a));
  const double* with_b = attractions(layer, rank(layer, b));
  return with_b[a] + with_a[b] - with_a[a] - with_b[b];
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
  if (layer + 1 < instance_->layers)
    exchange(layer + 1, row(layer, a), row(layer, b), rank_a, rank_b);
  if (layer > 0) exchange(layer - 1, column(layer, a), column(layer, b), rank_a, rank_b);
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
    place(layer, expert, from, -1);
    place(layer, expert, to, 1);
  }
  fill_dummies(layer, std::move(room));
}

const double* ChainState::row(int32_t layer, int32_t expert) const {
  if (layer + 1 >= instance_->layers || expert >= instance_->experts) return nullptr;
  return instance_->weight(layer, expert);
}

const double* ChainState::column(int32_t layer, int32_t expert) const {
  if (layer == 0 || expert >= instance_->experts) return nullptr;
  const auto experts = static_cast<size_t>(instance_->experts);
  return transposed_.data() +
         (static_cast<size_t>(layer - 1) * experts + static_cast<size_t>(expert)) * experts;
}

// The neighbours of an expert feel it pull from `rank`, or (sign -1) no longer.
void ChainState::place(int32_t layer, int32_t expert, int32_t rank, double sign) {
  if (const double* weights = row(layer, expert)) pull(layer + 1, weights, sign, rank);
  if (const double* weights = column(layer, expert)) pull(layer - 1, weights, sign, rank);
}

void ChainState::pull(int32_t layer, const double* weights, double scale, int32_t rank) {
  const auto add = [&](int32_t to, double by) {
    double* attraction = attractions(layer, to);
    for (int32_t other = 0; other < instance_->experts; ++other)
      attraction[other] += by * weights[other];
  };
  const double near = instance_->same_node_value;
  add(rank, scale * (1 - near));
  if (near == 0) return;
  for (int32_t other = node_begin_[static_cast<size_t>(rank)];
       other < node_end_[static_cast<size_t>(rank)]; ++other) {
    add(other, scale * near);
  }
}

// What a pulled from rank_a it now pulls from rank_b, and b the other way round.
void ChainState::exchange(int32_t layer, const double* of_a, const double* of_b, int32_t rank_a,
                          int32_t rank_b) {
  if (of_a == nullptr || of_b == nullptr || instance_->same_node_value != 0) {
    if (of_a != nullptr) pull(layer, of_a, -1, rank_a), pull(layer, of_a, 1, rank_b);
    if (of_b != nullptr) pull(layer, of_b, -1, rank_b), pull(layer, of_b, 1, rank_a);
    return;
  }
  // Most of a search's time goes by here.
  double* __restrict at_a = attractions(layer, rank_a);
  double* __restrict at_b = attractions(layer, rank_b);
  const auto experts = static_cast<size_t>(instance_->experts);
  for (size_t other = 0; other < experts; ++other) {
    const double difference = of_a[other] - of_b[other];
    at_a[other] -= difference;
    at_b[other] += difference;
  }
}

double ChainState::excess() const { return excess_load(*instance_, load_); }

Assignment ChainState::assignment() const {
  return assignment_of(*instance_,
                       [this](int32_t layer, int32_t expert) { return rank(layer, expert); });
}

}  // namespace conclave::placement
