#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_SEARCH_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_SEARCH_H_

// Local search on the chain of layers: annealed swaps, layer sweeps (one layer as a balanced
// assignment with its neighbours fixed) and suffix relabelling. After Kirkpatrick et al. 1983
// (annealing) and the sweep-and-relabel scheme for layered assignment problems.

#include <cstdint>
#include <vector>

#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// An assignment with the tables that make a swap O(1) to judge and O(E) to make. Experts are padded
// with dummies (no load, no weight) up to the slots, so that a swap with a dummy is a move into a
// free slot.
class ChainState {
 public:
  ChainState(const ChainInstance& instance, const Assignment& start);

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
    return attraction_[slot(layer, expert) * ranks_ + static_cast<size_t>(rank)];
  }
  double excess() const;
  Assignment assignment() const;

 private:
  size_t slot(int32_t layer, int32_t expert) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(padded_) + static_cast<size_t>(expert);
  }
  void shift(int32_t layer, int32_t expert, int32_t from, int32_t to);
  void pull(int32_t layer, int32_t expert, double weight, int32_t from, int32_t to);

  const ChainInstance* instance_;
  size_t ranks_;
  int32_t padded_;
  std::vector<int32_t> rank_of_;                // [layers, padded]
  std::vector<double> attraction_;              // [layers, padded, ranks]
  std::vector<double> load_of_;                 // [layers, padded]
  std::vector<double> load_;                    // [layers, ranks]
  std::vector<double> transposed_;              // [layers - 1, E, E]: weights by column
  std::vector<int32_t> node_begin_, node_end_;  // [ranks]: the ranks of the same node
};

struct AnnealOptions {
  int64_t proposals = 0;    // the schedule's length
  double hot = 1.0;         // first temperature, in units of the mean attraction
  double cold = 0.004;      // last one
  double load_price = 1.0;  // what a unit of load above the cap costs at the end, in units of kept
                            // weight per unit of load
  uint64_t seed = 1;
};
// Annealed swaps; excess load is priced, so the result may be slightly infeasible: repair() it.
void anneal(const AnnealOptions& options, const SearchClock& clock, ChainState* state);
// Swaps that lower the excess load at the least loss, until there is none or no swap helps.
bool repair(ChainState* state);
// Swaps and layer sweeps that gain without adding excess, until none does or the clock ends.
void polish(const SearchClock& clock, ChainState* state);
// Renames the ranks of all layers after each cut where that keeps more. Rank loads must fit either
// way.
void relabel_suffixes(ChainState* state);

struct ChainSearchOptions {
  double proposals_per_second = 4e6;  // of one thread; what the clock allows at most
  int32_t threads = 1;                // each adds runs from seeds of its own
};
// The whole pipeline from a feasible (or best balanced) start: never worse than the start in
// (excess, kept). A function of seed and options as long as proposals, not the clock, end it.
Assignment search_chain(const ChainInstance& instance, const Assignment& start,
                        const SearchClock& clock, uint64_t seed,
                        const ChainSearchOptions& options = {});

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_CHAIN_SEARCH_H_
