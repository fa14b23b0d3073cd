#include "expert_placement/objective/single_copy_table.h"

#include <numeric>

namespace conclave::placement {

PlacementTable single_copy_table(const ChainInstance& instance, const Assignment& assignment,
                                 std::vector<int32_t> moe_layers) {
  if (moe_layers.empty()) {
    moe_layers.resize(static_cast<size_t>(instance.layers));
    std::iota(moe_layers.begin(), moe_layers.end(), 0);
  }
  std::vector<std::vector<std::vector<int32_t>>> holders(static_cast<size_t>(instance.layers));
  for (int32_t layer = 0; layer < instance.layers; ++layer) {
    for (int32_t expert = 0; expert < instance.experts; ++expert) {
      holders[static_cast<size_t>(layer)].push_back({assignment.at(layer, expert)});
    }
  }
  // Cannot fail: every expert has one rank that the instance has.
  return *PlacementTable::from_holders(std::move(moe_layers), instance.experts, instance.ranks(),
                                       holders);
}

}  // namespace conclave::placement
