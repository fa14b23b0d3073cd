#include "expert_placement/bounds/chain_bounds.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "expert_placement/flow/balanced_assignment.h"
#include "expert_placement/flow/min_cost_flow.h"

namespace conclave::placement {
namespace {

// Heaviest b-matching between rows and columns of an E x E matrix: 0 <= m <= 1, row and column sums
// <= b.
double heaviest_matching(const double* weights, int32_t experts, int64_t b) {
  const auto entries = static_cast<size_t>(experts) * static_cast<size_t>(experts);
  const double largest = *std::max_element(weights, weights + entries);
  if (largest <= 0) return 0;
  const double scale = static_cast<double>(1 << 24) / largest;
  FlowProblem flow;
  flow.nodes = 2 * experts + 2;
  flow.supply.assign(static_cast<size_t>(flow.nodes), 0);
  const int32_t source = 2 * experts, sink = source + 1;
  flow.supply[static_cast<size_t>(source)] = b * experts;
  flow.supply[static_cast<size_t>(sink)] = -b * experts;
  for (int32_t i = 0; i < experts; ++i) {
    flow.arcs.push_back({source, i, b, 0});
    flow.arcs.push_back({experts + i, sink, b, 0});
    for (int32_t j = 0; j < experts; ++j) {
      const double weight =
          weights[static_cast<size_t>(i) * static_cast<size_t>(experts) + static_cast<size_t>(j)];
      // Rounded up: a bound may only err on the safe side.
      if (weight > 0)
        flow.arcs.push_back({i, experts + j, 1, -static_cast<int64_t>(std::ceil(weight * scale))});
    }
  }
  flow.arcs.push_back({source, sink, b * experts, 0});
  const FlowSolution solution = min_cost_flow(flow);
  const double total = std::accumulate(weights, weights + entries, 0.0);
  return solution.feasible ? std::min(total, static_cast<double>(-solution.cost) / scale) : total;
}

// All ways to put E experts into groups of at most `size`, groups without names; calls
// visit(group_of).
template <typename Visit>
class PartitionWalk {
 public:
  PartitionWalk(int32_t experts, int32_t groups, int32_t size, Visit visit)
      : size_(size),
        held_(static_cast<size_t>(groups), 0),
        group_of_(static_cast<size_t>(experts), 0),
        visit_(visit) {}
  bool run(size_t expert = 0, size_t used = 0) {
    if (expert == group_of_.size()) return visit_(group_of_);
    for (size_t group = 0; group < std::min(used + 1, held_.size()); ++group) {
      if (held_[group] == size_) continue;
      ++held_[group];
      group_of_[expert] = static_cast<int32_t>(group);
      if (!run(expert + 1, std::max(used, group + 1))) return false;
      --held_[group];
    }
    return true;
  }

 private:
  int32_t size_;
  std::vector<int32_t> held_, group_of_;
  Visit visit_;
};

// Number of those partitions when the groups are full.
double partition_count(int32_t experts, int32_t groups, int32_t size) {
  return std::exp(std::lgamma(experts + 1.0) - groups * std::lgamma(size + 1.0) -
                  std::lgamma(groups + 1.0));
}

// attraction[j, g] of a neighbour's expert j to the groups of the centre layer; the best balanced
// choice is at most the sum of row maxima.
struct Neighbour {
  std::vector<double> attraction;
  double ceiling = 0;
};
Neighbour attract(const ChainInstance& instance, int32_t centre, bool later,
                  const std::vector<int32_t>& group_of) {
  const auto ranks = static_cast<size_t>(instance.ranks());
  Neighbour neighbour{std::vector<double>(static_cast<size_t>(instance.experts) * ranks, 0), 0};
  for (int32_t i = 0; i < instance.experts; ++i) {
    const auto group = static_cast<size_t>(group_of[static_cast<size_t>(i)]);
    for (int32_t j = 0; j < instance.experts; ++j) {
      const double weight =
          later ? instance.weight(centre, i)[j] : instance.weight(centre - 1, j)[i];
      neighbour.attraction[static_cast<size_t>(j) * ranks + group] += weight;
    }
  }
  for (size_t j = 0; j < neighbour.attraction.size(); j += ranks) {
    neighbour.ceiling +=
        *std::max_element(neighbour.attraction.begin() + static_cast<int64_t>(j),
                          neighbour.attraction.begin() + static_cast<int64_t>(j + ranks));
  }
  return neighbour;
}

double assigned(const Neighbour& neighbour, const std::vector<int32_t>& slots) {
  const std::vector<int32_t> rank_of = assign_balanced(neighbour.attraction, slots);
  double sum = 0;
  for (size_t j = 0; j < rank_of.size(); ++j)
    sum += neighbour.attraction[j * slots.size() + static_cast<size_t>(rank_of[j])];
  return sum;
}

}  // namespace

std::optional<double> pair_bound(const ChainInstance& instance, const SearchClock& clock) {
  const int32_t slots = *std::max_element(instance.slots.begin(), instance.slots.end());
  std::vector<int32_t> node_slots(static_cast<size_t>(instance.node_of.back()) + 1, 0);
  for (size_t rank = 0; rank < instance.slots.size(); ++rank) {
    node_slots[static_cast<size_t>(instance.node_of[rank])] += instance.slots[rank];
  }
  const int32_t per_node = *std::max_element(node_slots.begin(), node_slots.end());
  double kept = 0;
  for (int32_t layer = 0; layer + 1 < instance.layers; ++layer) {
    if (clock.expired()) return std::nullopt;
    const double* weights = instance.weight(layer, 0);
    const double near = instance.same_node_value;
    kept += (1 - near) * heaviest_matching(weights, instance.experts, slots);
    if (near > 0)
      kept +=
          near * heaviest_matching(weights, instance.experts, std::min(per_node, instance.experts));
  }
  return kept;
}

std::optional<double> star_bound(const ChainInstance& instance, double max_partitions,
                                 const SearchClock& clock) {
  const int32_t size = *std::max_element(instance.slots.begin(), instance.slots.end());
  if (instance.same_node_value > 0 || size * instance.ranks() != instance.experts ||
      partition_count(instance.experts, instance.ranks(), size) > max_partitions) {
    return std::nullopt;
  }
  double kept = 0;
  for (int32_t centre = 1; centre < instance.layers; centre += 2) {
    double best = 0;
    int64_t visited = 0;
    const auto visit = [&](const std::vector<int32_t>& group_of) {
      if (++visited % 256 == 0 && clock.expired()) return false;
      const Neighbour before = attract(instance, centre, false, group_of);
      Neighbour after;
      if (centre + 1 < instance.layers) after = attract(instance, centre, true, group_of);
      if (before.ceiling + after.ceiling <= best) return true;
      const double left = assigned(before, instance.slots);
      if (left + after.ceiling <= best) return true;
      best =
          std::max(best, left + (after.attraction.empty() ? 0 : assigned(after, instance.slots)));
      return true;
    };
    PartitionWalk walk(instance.experts, instance.ranks(), size, visit);
    if (!walk.run()) return std::nullopt;
    // Profits are rounded to 2^-20 of the largest; give that back.
    kept += best * (1 + 1e-5);
  }
  return kept;
}

double message_bound(const RoutingProfile& profile, int32_t ranks, int32_t slots, Plan plan) {
  const double k = profile.top_k();
  const double fewest = std::ceil(k / slots);
  double sum = 0;
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    // Both triangles are matched, so a pair is met twice; |D| >= k - pairs on one rank.
    const double pairs =
        heaviest_matching(profile.pairs(layer).data(), profile.experts(), std::max(0, slots - 1)) /
        2;
    const double mean = profile.tokens() > 0 ? k - pairs / profile.tokens() : fewest;
    const double distinct = std::max(fewest, mean);
    sum += ranks == 1 ? 0 : plan == Plan::kFixed ? 2 * (distinct - 1) : 2 * distinct - 2;
  }
  return std::max(0.0, sum / profile.layers());
}

}  // namespace conclave::placement
