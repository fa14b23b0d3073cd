#include "expert_placement/profile/synthetic_rows.h"

#include <algorithm>
#include <numeric>

#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {
namespace {

constexpr int64_t kRowsPerSequence = 64;
constexpr int64_t kSyntheticRows = 16384;

// An index drawn in proportion to its weight; a uniform one if all weights are zero.
size_t draw(const std::vector<double>& weights, Random* random) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (total <= 0) return random->below(static_cast<uint32_t>(weights.size()));
  double left = random->uniform() * total;
  for (size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return weights.size() - 1;
}

// How likely each expert leads the layer after `leader` led the one before.
std::vector<double> leader_weights(const RoutingProfile& profile, int32_t layer, size_t leader) {
  const auto experts = static_cast<size_t>(profile.experts());
  std::vector<double> weights(experts, 0);
  if (layer > 0) {
    const auto row = profile.transitions(layer - 1).subspan(leader * experts, experts);
    weights.assign(row.begin(), row.end());
  } else if (profile.layers() > 1) {
    const auto all = profile.transitions(0);
    for (size_t from = 0; from < experts; ++from) {
      weights[from] =
          std::accumulate(all.begin() + static_cast<int64_t>(from * experts),
                          all.begin() + static_cast<int64_t>((from + 1) * experts), 0.0);
    }
  }
  if (std::accumulate(weights.begin(), weights.end(), 0.0) > 0) return weights;
  return {profile.loads(layer).begin(), profile.loads(layer).end()};
}

}  // namespace

RoutingRows synthesize_rows(const RoutingProfile& profile, int64_t rows, uint64_t seed) {
  RoutingRows out{profile.layers(), profile.experts(), profile.top_k(), {}, {}};
  if (profile.empty()) return out;
  Random random(seed);
  const auto experts = static_cast<size_t>(profile.experts());
  for (int64_t row = 0; row < rows; ++row) {
    out.sequence.push_back(static_cast<int32_t>(row / kRowsPerSequence));
    size_t leader = 0;
    for (int32_t layer = 0; layer < profile.layers(); ++layer) {
      leader = draw(leader_weights(profile, layer, leader), &random);
      std::vector<uint16_t> chosen{static_cast<uint16_t>(leader)};
      const auto pairs = profile.pairs(layer);
      std::vector<double> company(pairs.begin() + static_cast<int64_t>(leader * experts),
                                  pairs.begin() + static_cast<int64_t>((leader + 1) * experts));
      while (static_cast<int32_t>(chosen.size()) < profile.top_k()) {
        for (uint16_t taken : chosen) company[taken] = 0;
        size_t next = draw(company, &random);
        while (std::find(chosen.begin(), chosen.end(), static_cast<uint16_t>(next)) != chosen.end())
          next = (next + 1) % experts;
        for (size_t e = 0; e < experts; ++e) company[e] += pairs[next * experts + e];
        chosen.push_back(static_cast<uint16_t>(next));
      }
      out.chosen.insert(out.chosen.end(), chosen.begin(), chosen.end());
    }
  }
  return out;
}

RoutingRows uniform_rows(int32_t layers, int32_t experts, int32_t top_k, int64_t rows,
                         uint64_t seed) {
  Random random(seed);
  RoutingRows out{layers, experts, top_k, {}, {}};
  std::vector<uint16_t> order(static_cast<size_t>(experts));
  std::iota(order.begin(), order.end(), uint16_t{0});
  for (int64_t row = 0; row < rows; ++row) {
    out.sequence.push_back(static_cast<int32_t>(row / 64));
    for (int32_t layer = 0; layer < layers; ++layer) {
      for (size_t i = 0; i < static_cast<size_t>(top_k); ++i) {
        const auto left = static_cast<uint32_t>(order.size() - i);
        std::swap(order[i], order[i + random.below(left)]);
        out.chosen.push_back(order[i]);
      }
    }
  }
  return out;
}

RoutingRows rows_for_search(const RoutingProfile& profile, uint64_t seed) {
  return profile.samples().rows() > 0 ? profile.samples()
                                      : synthesize_rows(profile, kSyntheticRows, seed);
}

}  // namespace conclave::placement
