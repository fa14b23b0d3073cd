#ifndef CONCLAVE_WORKER_ROUTING_COUNTER_H_
#define CONCLAVE_WORKER_ROUTING_COUNTER_H_

// Counts what the routers chose for this rank's rows: loads, transitions of the leading expert to
// the next MoE layer, pairs of experts in one layer (after ExFlow's affinity, arXiv 2401.08383).
// Counting costs some increments a row and never allocates; take() does the expensive part, outside
// of steps.

#include <cstdint>
#include <span>
#include <vector>

#include "protocol/routing_counts.h"

namespace conclave::worker {

class RoutingCounter {
 public:
  RoutingCounter(int32_t moe_layers, int32_t experts, int32_t top_k, int32_t max_samples = 64);

  // The expert of the highest weight; of equal ones the first.
  static int32_t leader(std::span<const int32_t> ids, std::span<const float> weights);

  // ids ordered by weight, the highest first, into out [k]; the first is leader().
  static void by_weight(std::span<const int32_t> ids, std::span<const float> weights,
                        uint16_t* out);

  // One row of one layer: ids ascending, weights beside them, both [top_k]. previous: the row's
  // leader in the MoE layer before (ignored for layer 0); leading: the one in this layer.
  void count(int32_t moe_layer, std::span<const int32_t> ids, int32_t previous, int32_t leading);

  // Whole rows, a few between two reports. A row is sampled if begin_sample() gave it a slot (>=
  // 0).
  int32_t begin_sample(uint64_t sequence_id);
  void sample(int32_t slot, int32_t moe_layer, std::span<const int32_t> ids,
              std::span<const float> weights);

  // Everything since the last call; starts again from zero. Allocates.
  protocol::RoutingCounts take();

 private:
  static std::vector<protocol::RoutingCounts::Entry> take_entries(std::vector<uint32_t>* counts);

  int32_t moe_layers_;
  int32_t experts_;
  int32_t top_k_;
  int64_t rows_ = 0;
  std::vector<uint32_t> loads_;        // [moe layers, E]
  std::vector<uint32_t> transitions_;  // [moe layers - 1, E, E]
  std::vector<uint32_t> pairs_;        // [moe layers, E, E], a < b
  int32_t max_samples_;
  int32_t samples_taken_ = 0;
  std::vector<uint16_t> samples_;  // [max samples, moe layers, top_k]
  std::vector<int32_t> sample_sequences_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_ROUTING_COUNTER_H_
