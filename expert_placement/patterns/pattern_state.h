#ifndef CONCLAVE_EXPERT_PLACEMENT_PATTERNS_PATTERN_STATE_H_
#define CONCLAVE_EXPERT_PLACEMENT_PATTERNS_PATTERN_STATE_H_

// Messages of sampled rows under a placement of single copies, with tables that make a move O(1) to
// judge. With n(t, g) the number of a row's experts on rank g in a layer:
//   fixed plan     2 * |{g : n(t, g) > 0, g != home(t)}|
//   coherent plan  2 * |{g : n(t, g) > 0}| - 1 - [n(t, a) > 0], a = rank of the leading expert one
//   layer before (the home in layer 0)
// which is sum over g of price(t, g) [n(t, g) > 0], up to a constant.

#include <cstdint>
#include <span>
#include <vector>

#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/solve.h"
#include "expert_placement/sweeps/chain_instance.h"

namespace conclave::placement {

class PatternState {
 public:
  // rows.experts, layers must be the instance's. home_of_row: [rows].
  PatternState(const ChainInstance& instance, const RoutingRows& rows, Plan plan,
               std::span<const int32_t> home_of_row, const Assignment& start);

  int32_t rank(int32_t layer, int32_t expert) const { return rank_of_[slot(layer, expert)]; }
  int32_t padded() const { return padded_; }  // experts and free slots ("dummies") of a layer
  // Change of the number of messages if the expert alone moved to the rank.
  int64_t move_cost(int32_t layer, int32_t expert, int32_t to) const;
  // The same if a and b (b may be a dummy) change places. quick_ leaves out what rows that use both
  // add, which is never negative.
  int64_t quick_swap_cost(int32_t layer, int32_t a, int32_t b) const;
  int64_t swap_cost(int32_t layer, int32_t a, int32_t b) const;
  double swap_excess(int32_t layer, int32_t a, int32_t b) const;
  void swap(int32_t layer, int32_t a, int32_t b);

  int64_t messages() const;  // counted anew, for tests and reports
  double excess() const;
  Assignment assignment() const;
  const ChainInstance& instance() const { return *instance_; }

 private:
  size_t slot(int32_t layer, int32_t expert) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(padded_) + static_cast<size_t>(expert);
  }
  const uint16_t* ids(int32_t layer, int32_t row) const {
    return ids_.data() + (static_cast<size_t>(layer) * rows_ + static_cast<size_t>(row)) * k_;
  }
  uint8_t* counts(int32_t layer, int32_t row) {
    return counts_.data() +
           (static_cast<size_t>(layer) * rows_ + static_cast<size_t>(row)) * ranks_;
  }
  const uint8_t* counts(int32_t layer, int32_t row) const {
    return counts_.data() +
           (static_cast<size_t>(layer) * rows_ + static_cast<size_t>(row)) * ranks_;
  }
  int32_t& price_rank(int32_t layer, int32_t row) {
    return cheap_rank_[static_cast<size_t>(layer) * rows_ + static_cast<size_t>(row)];
  }
  int32_t price(int32_t layer, int32_t row, int32_t rank) const {
    return cheap_rank_[static_cast<size_t>(layer) * rows_ + static_cast<size_t>(row)] == rank
               ? cheap_price_
               : 2;
  }
  void move(int32_t layer, int32_t expert, int32_t to);
  void move_row(int32_t layer, int32_t row, int32_t expert, int32_t from, int32_t to);
  void reprice(int32_t layer, int32_t row, int32_t from, int32_t to);
  void add_prices(int32_t layer, int32_t row, int32_t rank, int32_t amount);
  void fill_tables();

  const ChainInstance* instance_;
  Plan plan_;
  size_t ranks_, rows_, k_;
  int32_t padded_;
  int32_t cheap_price_;                        // of the row's own rank: fixed 0, coherent 1
  std::vector<uint16_t> ids_;                  // [layers, rows, k]
  std::vector<uint8_t> counts_;                // [layers, rows, ranks]
  std::vector<int32_t> cheap_rank_;            // [layers, rows]: home, or where the token sits
  std::vector<std::vector<int32_t>> rows_of_;  // [layers * E]: rows that use the expert
  std::vector<int32_t> rank_of_;               // [layers, padded]
  std::vector<double> load_;                   // [layers, ranks]
  std::vector<int64_t>
      leaving_;  // [layers, padded]: price of the ranks that only this expert makes a row visit
  std::vector<int64_t>
      arriving_;  // [layers, padded, ranks]: price of the rows that do not visit the rank yet
  std::vector<int64_t> following_;  // [layers, padded, ranks]: rows led by the expert that visit
                                    // the rank in the next layer
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_PATTERNS_PATTERN_STATE_H_
