#include "worker/rank_hits.h"

#include <bit>

namespace conclave::worker {

RankHits::RankHits(const placement::PlacementTable& table)
    : experts_(table.experts()), ranks_(table.ranks() <= kMaxRanks ? table.ranks() : 0) {
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < experts_; ++expert) {
      uint64_t bits = 0;
      for (const int32_t rank : table.holders(layer, expert)) bits |= uint64_t{1} << (rank % 64);
      holders_.push_back(bits);
    }
  }
}

void RankHits::set_holders(int32_t moe_layer, const std::vector<std::vector<int32_t>>& holders) {
  uint64_t* bits = holders_.data() + static_cast<int64_t>(moe_layer) * experts_;
  for (const std::vector<int32_t>& ranks : holders) {
    *bits = 0;
    for (const int32_t rank : ranks) *bits |= uint64_t{1} << (rank % 64);
    ++bits;
  }
}

void RankHits::count(int32_t moe_layer, std::span<const int32_t> ids, int32_t top_k,
                     std::span<int32_t> hits) const {
  if (ranks_ == 0) return;
  const uint64_t* holders = holders_.data() + static_cast<int64_t>(moe_layer) * experts_;
  for (size_t row = 0; row < ids.size(); row += static_cast<size_t>(top_k)) {
    uint64_t found = 0;
    for (size_t i = row; i < row + static_cast<size_t>(top_k); ++i) found |= holders[ids[i]];
    for (; found != 0; found &= found - 1) ++hits[static_cast<size_t>(std::countr_zero(found))];
  }
}

}  // namespace conclave::worker
