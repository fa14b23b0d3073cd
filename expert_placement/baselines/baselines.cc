#include "expert_placement/baselines/baselines.h"

#include <algorithm>
#include <numeric>

namespace conclave::placement {
namespace {

using Holders = std::vector<std::vector<int32_t>>;  // [E]

PlacementTable table_of(const RoutingProfile& profile, int32_t ranks,
                        const std::vector<Holders>& holders) {
  const auto layers = profile.shape().moe_layers;
  // Cannot fail: the callers give every expert distinct ranks that exist.
  return *PlacementTable::from_holders(layers, profile.experts(), ranks, holders);
}

std::vector<int32_t> copies_of(std::span<const double> loads, int32_t ranks, int32_t extra) {
  std::vector<int32_t> copies(loads.size(), 1);
  for (int32_t i = 0; i < extra; ++i) {
    size_t heaviest = loads.size();
    for (size_t e = 0; e < loads.size(); ++e) {
      if (copies[e] == ranks) continue;
      if (heaviest == loads.size() || loads[e] / copies[e] > loads[heaviest] / copies[heaviest])
        heaviest = e;
    }
    if (heaviest < loads.size()) ++copies[heaviest];
  }
  return copies;
}

Holders pack(std::span<const double> loads, const std::vector<int32_t>& copies, int32_t ranks) {
  std::vector<size_t> items;
  for (size_t e = 0; e < loads.size(); ++e)
    items.insert(items.end(), static_cast<size_t>(copies[e]), e);
  std::sort(items.begin(), items.end(), [&](size_t a, size_t b) {
    const double of_a = loads[a] / copies[a], of_b = loads[b] / copies[b];
    return of_a != of_b ? of_a > of_b : a < b;
  });
  const auto slots = (static_cast<int32_t>(items.size()) + ranks - 1) / ranks;
  std::vector<double> load(static_cast<size_t>(ranks), 0);
  std::vector<int32_t> held(static_cast<size_t>(ranks), 0);
  Holders holders(loads.size());
  for (size_t e : items) {
    int32_t lightest = -1;
    for (int32_t rank = 0; rank < ranks; ++rank) {
      const auto at = static_cast<size_t>(rank);
      if (held[at] >= slots ||
          std::find(holders[e].begin(), holders[e].end(), rank) != holders[e].end())
        continue;
      if (lightest < 0 || load[at] < load[static_cast<size_t>(lightest)]) lightest = rank;
    }
    if (lightest < 0) continue;  // every rank with room holds a copy already
    holders[e].push_back(lightest);
    load[static_cast<size_t>(lightest)] += loads[e] / copies[e];
    ++held[static_cast<size_t>(lightest)];
  }
  return holders;
}

}  // namespace

PlacementTable contiguous_table(const RoutingProfile& profile, int32_t ranks) {
  return PlacementTable::contiguous(profile.shape().moe_layers, profile.experts(), ranks);
}

PlacementTable round_robin_table(const RoutingProfile& profile, int32_t ranks) {
  Holders layer;
  for (int32_t expert = 0; expert < profile.experts(); ++expert) layer.push_back({expert % ranks});
  return table_of(profile, ranks,
                  std::vector<Holders>(static_cast<size_t>(profile.layers()), layer));
}

PlacementTable eplb_table(const RoutingProfile& profile, int32_t ranks, int32_t extra) {
  std::vector<Holders> holders;
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    const auto loads = profile.loads(layer);
    holders.push_back(pack(loads, copies_of(loads, ranks, extra), ranks));
  }
  return table_of(profile, ranks, holders);
}

}  // namespace conclave::placement
