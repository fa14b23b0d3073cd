#ifndef CONCLAVE_WORKER_RANK_HITS_H_
#define CONCLAVE_WORKER_RANK_HITS_H_

// On which ranks the rows of a prompt find their experts: what a sequence's home is chosen by.

#include <cstdint>
#include <span>
#include <vector>

#include "expert_placement/table/placement_table.h"

namespace conclave::worker {

class RankHits {
 public:
  static constexpr int32_t kMaxRanks = 64;  // beyond, nothing is counted

  explicit RankHits(const placement::PlacementTable& table);
  void set_holders(int32_t moe_layer, const std::vector<std::vector<int32_t>>& holders);
  int32_t ranks() const { return ranks_; }
  // Rows of one layer, ids [rows * top_k]: adds one to hits[r] for each row that has an expert on
  // rank r.
  void count(int32_t moe_layer, std::span<const int32_t> ids, int32_t top_k,
             std::span<int32_t> hits) const;

 private:
  int32_t experts_;
  int32_t ranks_;                  // 0: too many
  std::vector<uint64_t> holders_;  // [moe layers, experts]: one bit a rank
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_RANK_HITS_H_
