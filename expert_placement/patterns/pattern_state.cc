#include "expert_placement/patterns/pattern_state.h"

#include <algorithm>
#include <numeric>

namespace conclave::placement {

PatternState::PatternState(const ChainInstance& instance, const RoutingRows& rows, Plan plan,
                           std::span<const int32_t> home_of_row, const Assignment& start)
    : instance_(&instance),
      plan_(plan),
      ranks_(instance.slots.size()),
      rows_(static_cast<size_t>(rows.rows())),
      k_(static_cast<size_t>(rows.top_k)),
      padded_(std::accumulate(instance.slots.begin(), instance.slots.end(), 0)),
      cheap_price_(plan == Plan::kFixed ? 0 : 1) {
  const auto layers = static_cast<size_t>(instance.layers);
  const size_t places = layers * static_cast<size_t>(padded_);
  ids_.resize(layers * rows_ * k_);
  counts_.assign(layers * rows_ * ranks_, 0);
  cheap_rank_.assign(layers * rows_, 0);
  rows_of_.resize(layers * static_cast<size_t>(instance.experts));
  rank_of_.assign(places, 0);
  load_.assign(layers * ranks_, 0);
  leaving_.assign(places, 0);
  arriving_.assign(places * ranks_, 0);
  following_.assign(places * ranks_, 0);
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    std::vector<int32_t> room = instance.slots;
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      const int32_t rank = rank_of_[slot(layer, expert)] = start.at(layer, expert);
      --room[static_cast<size_t>(rank)];
      load_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank)] +=
          instance.load(layer, expert);
    }
    int32_t dummy = instance.experts;
    for (int32_t rank = 0; rank < instance.ranks(); ++rank) {
      for (; room[static_cast<size_t>(rank)] > 0; --room[static_cast<size_t>(rank)])
        rank_of_[slot(layer, dummy++)] = rank;
    }
    for (int64_t row = 0; row < rows.rows(); ++row) {
      const auto chosen = rows.at(row, layer);
      const auto r = static_cast<int32_t>(row);
      std::copy(chosen.begin(), chosen.end(), ids_.begin() + (ids(layer, r) - ids_.data()));
      for (uint16_t expert : chosen) {
        rows_of_[static_cast<size_t>(layer) * static_cast<size_t>(instance.experts) + expert]
            .push_back(r);
        ++counts(layer, r)[rank(layer, expert)];
      }
      const bool follows = plan == Plan::kCoherent && layer > 0;
      price_rank(layer, r) = follows ? rank(layer - 1, rows.leader(row, layer - 1))
                                     : home_of_row[static_cast<size_t>(row)];
    }
  }
  fill_tables();
}

void PatternState::fill_tables() {
  for (int32_t layer = 0; layer < instance_->layers; ++layer) {
    for (size_t r = 0; r < rows_; ++r) {
      const auto row = static_cast<int32_t>(r);
      for (size_t g = 0; g < ranks_; ++g)
        add_prices(layer, row, static_cast<int32_t>(g), price(layer, row, static_cast<int32_t>(g)));
      if (plan_ == Plan::kFixed || layer == 0) continue;
      int64_t* following = following_.data() + slot(layer - 1, ids(layer - 1, row)[0]) * ranks_;
      for (size_t g = 0; g < ranks_; ++g) following[g] += counts(layer, row)[g] > 0;
    }
  }
}

// Books `amount` as the price of rank for this row in the tables of its experts.
void PatternState::add_prices(int32_t layer, int32_t row, int32_t rank, int32_t amount) {
  if (amount == 0) return;
  const uint16_t* chosen = ids(layer, row);
  const int count = counts(layer, row)[rank];
  if (count > 1) return;
  for (size_t i = 0; i < k_; ++i) {
    if (count == 0) {
      arriving_[slot(layer, chosen[i]) * ranks_ + static_cast<size_t>(rank)] += amount;
    } else if (this->rank(layer, chosen[i]) == rank) {
      leaving_[slot(layer, chosen[i])] += amount;
    }
  }
}

int64_t PatternState::move_cost(int32_t layer, int32_t expert, int32_t to) const {
  if (expert >= instance_->experts) return 0;
  const size_t at = slot(layer, expert);
  const int64_t* following = following_.data() + at * ranks_;
  return arriving_[at * ranks_ + static_cast<size_t>(to)] - leaving_[at] + following[rank_of_[at]] -
         following[to];
}

int64_t PatternState::quick_swap_cost(int32_t layer, int32_t a, int32_t b) const {
  return move_cost(layer, a, rank(layer, b)) + move_cost(layer, b, rank(layer, a));
}

int64_t PatternState::swap_cost(int32_t layer, int32_t a, int32_t b) const {
  int64_t cost = quick_swap_cost(layer, a, b);
  if (b >= instance_->experts) return cost;
  const auto experts = static_cast<size_t>(instance_->experts);
  const auto* of_a = &rows_of_[static_cast<size_t>(layer) * experts + static_cast<size_t>(a)];
  const auto* of_b = &rows_of_[static_cast<size_t>(layer) * experts + static_cast<size_t>(b)];
  if (of_a->size() > of_b->size()) std::swap(of_a, of_b), std::swap(a, b);
  const int32_t rank_a = rank(layer, a), rank_b = rank(layer, b);
  for (int32_t row : *of_a) {
    const uint16_t* chosen = ids(layer, row);
    if (std::find(chosen, chosen + k_, static_cast<uint16_t>(b)) == chosen + k_) continue;
    // Such a row visits what it visited before, but both halves counted a rank as left.
    if (counts(layer, row)[rank_a] == 1) cost += price(layer, row, rank_a);
    if (counts(layer, row)[rank_b] == 1) cost += price(layer, row, rank_b);
  }
  return cost;
}

double PatternState::swap_excess(int32_t layer, int32_t a, int32_t b) const {
  const double cap = instance_->cap[static_cast<size_t>(layer)];
  const double* load = load_.data() + static_cast<size_t>(layer) * ranks_;
  const double moved =
      instance_->load(layer, a) - (b < instance_->experts ? instance_->load(layer, b) : 0);
  const double at_a = load[rank(layer, a)], at_b = load[rank(layer, b)];
  const auto over = [cap](double value) { return std::max(0.0, value - cap); };
  return over(at_a - moved) + over(at_b + moved) - over(at_a) - over(at_b);
}

void PatternState::swap(int32_t layer, int32_t a, int32_t b) {
  const int32_t rank_a = rank(layer, a), rank_b = rank(layer, b);
  move(layer, a, rank_b);
  if (b < instance_->experts) {
    move(layer, b, rank_a);
  } else {
    rank_of_[slot(layer, b)] = rank_a;
  }
}

void PatternState::move(int32_t layer, int32_t expert, int32_t to) {
  const int32_t from = rank(layer, expert);
  double* load = load_.data() + static_cast<size_t>(layer) * ranks_;
  load[from] -= instance_->load(layer, expert);
  load[to] += instance_->load(layer, expert);
  // The expert counts as gone from `from` while the rows' tables are redone.
  for (int32_t row : rows_of_[static_cast<size_t>(layer) * static_cast<size_t>(instance_->experts) +
                              static_cast<size_t>(expert)]) {
    move_row(layer, row, expert, from, to);
  }
  rank_of_[slot(layer, expert)] = to;
}

void PatternState::move_row(int32_t layer, int32_t row, int32_t expert, int32_t from, int32_t to) {
  const size_t at = slot(layer, expert);
  const uint16_t* chosen = ids(layer, row);
  uint8_t* count = counts(layer, row);
  const int32_t price_from = price(layer, row, from), price_to = price(layer, row, to);
  // rank_of_[at] still says `from`: scans for "the other expert on the rank" must leave this one
  // out.
  const auto the_other_on = [&](int32_t rank) {
    for (size_t i = 0; i < k_; ++i) {
      if (chosen[i] != expert && this->rank(layer, chosen[i]) == rank)
        return slot(layer, chosen[i]);
    }
    return at;  // not reached: count says that there is one
  };
  const int before_from = count[from]--, before_to = count[to]++;
  if (before_from == 1) {
    leaving_[at] -= price_from;
    for (size_t i = 0; i < k_; ++i)
      arriving_[slot(layer, chosen[i]) * ranks_ + static_cast<size_t>(from)] += price_from;
  } else if (before_from == 2) {
    leaving_[the_other_on(from)] += price_from;
  }
  if (before_to == 0) {
    leaving_[at] += price_to;
    for (size_t i = 0; i < k_; ++i)
      arriving_[slot(layer, chosen[i]) * ranks_ + static_cast<size_t>(to)] -= price_to;
  } else if (before_to == 1) {
    leaving_[the_other_on(to)] -= price_to;
  }
  if (plan_ == Plan::kFixed) return;
  if (layer > 0) {
    int64_t* following = following_.data() + slot(layer - 1, ids(layer - 1, row)[0]) * ranks_;
    following[from] -= before_from == 1;
    following[to] += before_to == 0;
  }
  if (layer + 1 < instance_->layers && chosen[0] == expert) reprice(layer + 1, row, from, to);
}

// The token now sits on `to`: visiting `from` costs one more, visiting `to` one less.
void PatternState::reprice(int32_t layer, int32_t row, int32_t from, int32_t to) {
  price_rank(layer, row) = to;
  add_prices(layer, row, from, 1);
  add_prices(layer, row, to, -1);
}

int64_t PatternState::messages() const {
  int64_t total = 0;
  for (int32_t layer = 0; layer < instance_->layers; ++layer) {
    for (size_t r = 0; r < rows_; ++r) {
      const auto row = static_cast<int32_t>(r);
      for (size_t g = 0; g < ranks_; ++g) {
        if (counts(layer, row)[g] > 0) total += price(layer, row, static_cast<int32_t>(g));
      }
      total -= plan_ == Plan::kCoherent;
    }
  }
  return total;
}

double PatternState::excess() const { return excess_load(*instance_, load_); }

Assignment PatternState::assignment() const {
  return assignment_of(*instance_,
                       [this](int32_t layer, int32_t expert) { return rank(layer, expert); });
}

}  // namespace conclave::placement
