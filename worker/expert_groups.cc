#include "worker/expert_groups.h"

#include <algorithm>

namespace conclave::worker {

ExpertGroups::ExpertGroups(int32_t experts, size_t max_pairs)
    : pair_expert_(max_pairs),
      pair_row_(max_pairs),
      count_(static_cast<size_t>(experts)),
      input_rows_(max_pairs),
      output_rows_(max_pairs) {
  experts_.reserve(count_.size());
  group_rows_.reserve(count_.size());
  group_begin_.reserve(count_.size());
}

void ExpertGroups::group_rest(size_t begun, int32_t done_experts) {
  std::fill(count_.begin(), count_.end(), 0);
  for_rest(begun, done_experts,
           [this](size_t pair) { ++count_[static_cast<size_t>(pair_expert_[pair])]; });
  experts_.clear();
  group_rows_.clear();
  group_begin_.clear();
  int32_t begin = 0;
  for (size_t expert = 0; expert < count_.size(); ++expert) {
    const int32_t rows = count_[expert];
    if (rows == 0) continue;
    experts_.push_back(static_cast<int32_t>(expert));
    group_rows_.push_back(rows);
    group_begin_.push_back(begin);
    count_[expert] = begin;
    begin += rows;
  }
  for_rest(begun, done_experts, [this](size_t pair) {
    const auto at = static_cast<size_t>(count_[static_cast<size_t>(pair_expert_[pair])]++);
    input_rows_[at] = pair_row_[pair];
    output_rows_[at] = static_cast<int32_t>(pair);
  });
}

}  // namespace conclave::worker
