#ifndef CONCLAVE_WORKER_EXPERT_GROUPS_H_
#define CONCLAVE_WORKER_EXPERT_GROUPS_H_

// (row, expert) pairs of one layer on one rank, sorted into one group of rows for each expert. Pair
// i writes output row i, so pairs appended together have their results together. Allocates when
// made only.

#include <cstdint>
#include <span>
#include <vector>

namespace conclave::worker {

class ExpertGroups {
 public:
  ExpertGroups(int32_t experts, size_t max_pairs);

  void clear() { pairs_ = 0; }
  // Appends a pair and returns its output row.
  int32_t add(int32_t expert, int32_t input_row) {
    pair_expert_[pairs_] = expert;
    pair_row_[pairs_] = input_row;
    return static_cast<int32_t>(pairs_++);
  }
  size_t pairs() const { return pairs_; }
  size_t max_pairs() const { return pair_expert_.size(); }

  // Groups all pairs by expert, ascending; pairs keep their order inside a group.
  void group_all() { group_rest(0, 0); }
  // Only what is left to do: the first `begun` pairs are done where their expert is below
  // `done_experts`.
  void group_rest(size_t begun, int32_t done_experts);
  std::span<const int32_t> experts() const { return experts_; }        // with at least one pair
  std::span<const int32_t> group_rows() const { return group_rows_; }  // rows of each of them
  std::span<const int32_t> input_rows(size_t group) const { return slice(input_rows_, group); }
  std::span<const int32_t> output_rows(size_t group) const { return slice(output_rows_, group); }

 private:
  std::span<const int32_t> slice(const std::vector<int32_t>& rows, size_t group) const {
    return {rows.data() + group_begin_[group], static_cast<size_t>(group_rows_[group])};
  }
  // Calls take(pair) for every pair that is left.
  template <typename Take>
  void for_rest(size_t begun, int32_t done_experts, Take take) const {
    for (size_t pair = 0; pair < begun; ++pair) {
      if (pair_expert_[pair] >= done_experts) take(pair);
    }
    for (size_t pair = begun; pair < pairs_; ++pair) take(pair);
  }

  size_t pairs_ = 0;
  std::vector<int32_t> pair_expert_, pair_row_;
  std::vector<int32_t> count_;  // [experts], then the write cursor of each
  std::vector<int32_t> experts_, group_rows_, group_begin_;
  std::vector<int32_t> input_rows_, output_rows_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_EXPERT_GROUPS_H_
