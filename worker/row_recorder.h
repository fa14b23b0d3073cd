#ifndef CONCLAVE_WORKER_ROW_RECORDER_H_
#define CONCLAVE_WORKER_ROW_RECORDER_H_

// What the routers chose for every row that this rank saw in a step, for plans that want it
// recorded. Off, it costs one comparison a layer and no memory.

#include <cstdint>
#include <span>

#include "protocol/routing_counts.h"

namespace conclave::worker {

class RowRecorder {
 public:
  RowRecorder(int32_t max_rows, int32_t moe_layers, int32_t top_k)
      : max_rows_(max_rows), moe_layers_(moe_layers), top_k_(top_k) {}

  // A step begins. The first that is recorded takes memory for the largest step, so that layers
  // never allocate.
  void begin_step(bool record);
  // Rows of one MoE layer; plan_rows: [rows] which row of the plan each is; ids ascending and
  // weights, [rows * k].
  void note(int32_t moe_layer, std::span<const int32_t> plan_rows, std::span<const int32_t> ids,
            std::span<const float> weights);
  const protocol::RowRouting& recorded() const { return recorded_; }

 private:
  int32_t max_rows_;
  int32_t moe_layers_;
  int32_t top_k_;
  bool recording_ = false;
  protocol::RowRouting recorded_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_ROW_RECORDER_H_
