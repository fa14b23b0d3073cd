#ifndef CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_SERVING_RANKS_H_
#define CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_SERVING_RANKS_H_

#include <cstdint>
#include <vector>

#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

// Who serves (layer, expert) for a token on a rank, unfolded: holders are searched once, not per
// row.
class ServingRanks {
 public:
  explicit ServingRanks(const PlacementTable& table)
      : experts_(table.experts()), ranks_(table.ranks()) {
    serving_.reserve(static_cast<size_t>(table.layers()) * static_cast<size_t>(experts_) *
                     static_cast<size_t>(ranks_));
    for (int32_t layer = 0; layer < table.layers(); ++layer) {
      for (int32_t expert = 0; expert < experts_; ++expert) {
        for (int32_t from = 0; from < ranks_; ++from)
          serving_.push_back(table.serving_rank(layer, expert, from));
      }
    }
  }
  int32_t operator()(int32_t layer, int32_t expert, int32_t from) const {
    return serving_[(static_cast<size_t>(layer) * static_cast<size_t>(experts_) +
                     static_cast<size_t>(expert)) *
                        static_cast<size_t>(ranks_) +
                    static_cast<size_t>(from)];
  }

 private:
  int32_t experts_, ranks_;
  std::vector<int32_t> serving_;
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_SERVING_RANKS_H_
