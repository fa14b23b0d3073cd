#include "expert_placement/exact/exact_chain.h"

#include <algorithm>
#include <numeric>

#include "expert_placement/flow/balanced_assignment.h"

namespace conclave::placement {
namespace {

constexpr double kAdditionsPerSecond = 3e8;  // that one core manages at least

// Every placement [E] -> rank of one layer that obeys slots and cap; absent when there are more
// than limit, or when a tight cap hides them behind too many dead ends.
class LayerStates {
 public:
  LayerStates(const ChainInstance& instance, int32_t layer, int64_t limit)
      : instance_(instance),
        layer_(layer),
        limit_(limit),
        room_(instance.slots),
        load_(instance.slots.size(), 0),
        rank_of_(static_cast<size_t>(instance.experts), 0) {}
  std::optional<std::vector<std::vector<int32_t>>> list() {
    if (!extend(0)) return std::nullopt;
    return std::move(states_);
  }

 private:
  bool extend(int32_t expert) {
    if (++visited_ > kVisitsPerState * limit_) return false;
    if (expert == instance_.experts) {
      states_.push_back(rank_of_);
      return static_cast<int64_t>(states_.size()) <= limit_;
    }
    const double load = instance_.load(layer_, expert),
                 cap = instance_.cap[static_cast<size_t>(layer_)];
    for (size_t rank = 0; rank < room_.size(); ++rank) {
      if (room_[rank] == 0 || load_[rank] + load > cap * (1 + 1e-9)) continue;
      --room_[rank], load_[rank] += load;
      rank_of_[static_cast<size_t>(expert)] = static_cast<int32_t>(rank);
      const bool fits = extend(expert + 1);
      ++room_[rank], load_[rank] -= load;
      if (!fits) return false;
    }
    return true;
  }

  static constexpr int64_t kVisitsPerState = 100;
  const ChainInstance& instance_;
  int32_t layer_;
  int64_t limit_;
  int64_t visited_ = 0;
  std::vector<int32_t> room_;
  std::vector<double> load_;
  std::vector<int32_t> rank_of_;
  std::vector<std::vector<int32_t>> states_;
};

// For each state of the next layer the best predecessor and what is kept on the way there.
struct Stage {
  std::vector<double> kept;
  std::vector<int32_t> predecessor;
};

std::optional<Stage> advance(const ChainInstance& instance, int32_t layer,
                             const std::vector<std::vector<int32_t>>& from,
                             const std::vector<double>& kept,
                             const std::vector<std::vector<int32_t>>& to,
                             const SearchClock& clock) {
  const auto experts = static_cast<size_t>(instance.experts), ranks = instance.slots.size();
  Stage stage{std::vector<double>(to.size(), -1), std::vector<int32_t>(to.size(), -1)};
  std::vector<double> attraction(experts * ranks);  // of the next layer's experts
  for (size_t state = 0; state < from.size(); ++state) {
    if (clock.expired()) return std::nullopt;
    std::fill(attraction.begin(), attraction.end(), 0);
    for (size_t i = 0; i < experts; ++i) {
      const double* row = instance.weight(layer, static_cast<int32_t>(i));
      for (size_t rank = 0; rank < ranks; ++rank) {
        const double value = instance.value(from[state][i], static_cast<int32_t>(rank));
        if (value == 0) continue;
        for (size_t j = 0; j < experts; ++j) attraction[j * ranks + rank] += row[j] * value;
      }
    }
    for (size_t next = 0; next < to.size(); ++next) {
      double sum = kept[state];
      for (size_t j = 0; j < experts; ++j)
        sum += attraction[j * ranks + static_cast<size_t>(to[next][j])];
      if (sum > stage.kept[next])
        stage.kept[next] = sum, stage.predecessor[next] = static_cast<int32_t>(state);
    }
  }
  return stage;
}

}  // namespace

std::optional<Assignment> solve_one_expert_per_rank(const ChainInstance& instance) {
  const bool single =
      std::all_of(instance.slots.begin(), instance.slots.end(), [](int32_t n) { return n == 1; });
  if (!single || instance.ranks() != instance.experts || instance.same_node_value > 0)
    return std::nullopt;
  const auto experts = static_cast<size_t>(instance.experts);
  std::vector<int32_t> rank_of(experts);
  std::iota(rank_of.begin(), rank_of.end(), 0);
  Assignment assignment{instance.experts, rank_of};
  for (int32_t layer = 0; layer + 1 < instance.layers; ++layer) {
    std::vector<double> profit(experts * experts, 0);
    for (size_t from = 0; from < experts; ++from) {
      for (size_t to = 0; to < experts; ++to) {
        profit[to * experts + static_cast<size_t>(rank_of[from])] =
            instance.weight(layer, static_cast<int32_t>(from))[to];
      }
    }
    rank_of = assign_balanced(profit, instance.slots);
    assignment.rank_of.insert(assignment.rank_of.end(), rank_of.begin(), rank_of.end());
  }
  return assignment;
}

std::optional<Assignment> solve_by_states(const ChainInstance& instance, int64_t max_states,
                                          const SearchClock& clock) {
  std::vector<std::vector<std::vector<int32_t>>> states;
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    auto listed = LayerStates(instance, layer, max_states).list();
    if (!listed || listed->empty()) return std::nullopt;
    states.push_back(*std::move(listed));
  }
  double additions = 0;
  for (size_t layer = 0; layer + 1 < states.size(); ++layer) {
    additions += static_cast<double>(states[layer].size()) *
                 static_cast<double>(states[layer + 1].size()) * instance.experts;
  }
  // Better not begun than given up half-way.
  if (additions / kAdditionsPerSecond > clock.remaining()) return std::nullopt;
  std::vector<double> kept(states[0].size(), 0);
  std::vector<std::vector<int32_t>> predecessors;
  for (int32_t layer = 0; layer + 1 < instance.layers; ++layer) {
    const auto at = static_cast<size_t>(layer);
    auto stage = advance(instance, layer, states[at], kept, states[at + 1], clock);
    if (!stage) return std::nullopt;
    kept = std::move(stage->kept);
    predecessors.push_back(std::move(stage->predecessor));
  }
  auto state = static_cast<int32_t>(std::max_element(kept.begin(), kept.end()) - kept.begin());
  std::vector<int32_t> chosen(static_cast<size_t>(instance.layers));
  for (int32_t layer = instance.layers - 1; layer >= 0; --layer) {
    chosen[static_cast<size_t>(layer)] = state;
    if (layer > 0) state = predecessors[static_cast<size_t>(layer) - 1][static_cast<size_t>(state)];
  }
  Assignment assignment{instance.experts, {}};
  for (size_t layer = 0; layer < chosen.size(); ++layer) {
    const std::vector<int32_t>& rank_of = states[layer][static_cast<size_t>(chosen[layer])];
    assignment.rank_of.insert(assignment.rank_of.end(), rank_of.begin(), rank_of.end());
  }
  return assignment;
}

}  // namespace conclave::placement
