#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_STATE_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_STATE_H_

#include <cstdint>
#include <vector>

#include "expert_placement/sweeps/chain_instance.h"

namespace conclave::placement {

// An assignment with the tables that make a swap O(1) to judge and O(E) to make. Experts are padded
// with dummies (no load, no weight) up to the slots, so that a swap with a dummy is a move into a
// free slot.
class ChainState {
 public:
  ChainState(const ChainInstance& instance, const Assignment& start);

  // As if made anew from `start`, to the last bit: what a search finds must not depend on what its
  // state was used for before.
  void reset(const Assignment& start);

  // Change of kept weight and of excess load if the experts (or dummies) a and b of a layer change
  // places.
  double swap_gain(int32_t layer, int32_t a, int32_t b) const;
  double swap_excess(int32_t layer, int32_t a, int32_t b) const;
  void swap(int32_t layer, int32_t a, int32_t b);
  // Gives the whole layer new ranks; rank_of [E] must obey the slots.
  void set_layer(int32_t layer, const std::vector<int32_t>& rank_of);

  const ChainInstance& instance() const { return *instance_; }
  int32_t padded() const { return padded_; }
  int32_t rank(int32_t layer, int32_t expert) const { return rank_of_[slot(layer, expert)]; }
  // What expert would keep with its neighbours' layers on rank.
  double attraction(int32_t layer, int32_t expert, int32_t rank) const {
    return attractions(layer, rank)[expert];
  }
  double excess() const;
  Assignment assignment() const;

 private:
  size_t slot(int32_t layer, int32_t expert) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(padded_) + static_cast<size_t>(expert);
  }
  const double* attractions(int32_t layer, int32_t rank) const {
    return attraction_.data() + (static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank)) *
                                    static_cast<size_t>(padded_);
  }
  double* attractions(int32_t layer, int32_t rank) {
    return const_cast<double*>(static_cast<const ChainState*>(this)->attractions(layer, rank));
  }
  // What expert pulls in the next and the previous layer: [E], null for a dummy or at the ends.
  const double* row(int32_t layer, int32_t expert) const;
  const double* column(int32_t layer, int32_t expert) const;
  void fill_dummies(int32_t layer, std::vector<int32_t> room);
  void place(int32_t layer, int32_t expert, int32_t rank, double sign);
  void pull(int32_t layer, const double* weights, double scale, int32_t rank);
  void exchange(int32_t layer, const double* of_a, const double* of_b, int32_t rank_a,
                int32_t rank_b);

  const ChainInstance* instance_;
  size_t ranks_;
  int32_t padded_;
  std::vector<int32_t> rank_of_;    // [layers, padded]
  std::vector<double> attraction_;  // [layers, ranks, padded]: a move touches whole lines
  std::vector<double> load_of_;     // [layers, padded]
  std::vector<double> load_;        // [layers, ranks]
  std::vector<double> transposed_;  // [layers - 1, E, E]: weights by column
  std::vector<int32_t> node_begin_, node_end_;  // [ranks]: the ranks of the same node
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_STATE_H_
