#ifndef CONCLAVE_WORKER_DEVICE_RESULTS_H_
#define CONCLAVE_WORKER_DEVICE_RESULTS_H_

// What a device step hands back, in pinned memory: results, counts of expert rows, and on demand
// logits and routing; and how it becomes the chunks' results.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/device/device.h"
#include "protocol/step_plan.h"
#include "worker/device_layers.h"
#include "worker/step_batch.h"

namespace conclave::worker {

class DeviceResults {
 public:
  struct Shape {
    int32_t max_head_rows = 0;
    int32_t moe_layers = 0;
    int32_t experts = 0;
    int32_t top_k = 0;
    int32_t vocab = 0;
  };
  DeviceResults(const device::Device* device, const DeviceLayers* layers, const Shape& shape)
      : device_(device), layers_(layers), shape_(shape) {}
  absl::Status reserve();

  // Forgets the step before, which must have ended.
  void begin();
  // Enqueues the copies of `head_rows` results and of the expert counts.
  absl::Status fetch(device::Stream* stream, int32_t head_rows);
  // Waits and keeps the logits of the piece's rows that a plan wants; before the sampler runs.
  absl::Status keep_logits(device::Stream* stream, const StepBatch& batch, int32_t first,
                           int32_t rows);
  // Waits and keeps the expert ids of the step's rows.
  absl::Status keep_routing(device::Stream* stream, int64_t rows);

  // Fills token, logprobs, logits and routing of one chunk's result.
  void append_to(const StepBatch& batch, const protocol::StepPlan& plan, int32_t chunk,
                 protocol::SequenceResult* result) const;
  // Rows that this rank computed in an MoE layer.
  int64_t expert_rows(int32_t moe_layer) const;

 private:
  const device::SamplingResult* results() const {
    return reinterpret_cast<const device::SamplingResult*>(host_.data());
  }
  const int32_t* counts() const {
    return reinterpret_cast<const int32_t*>(host_.data() + results_bytes_);
  }
  absl::Status copy_and_wait(device::Stream* stream, void* to, const void* from,
                             size_t bytes) const;

  const device::Device* device_;
  const DeviceLayers* layers_;
  Shape shape_;
  device::Memory host_;
  size_t results_bytes_ = 0;
  std::vector<size_t> kept_begin_;  // [head rows]: where kLogits rows lie in kept_
  std::vector<float> kept_;
  std::vector<int32_t> routing_;  // [moe layers, rows * k]
  int64_t routed_rows_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_RESULTS_H_
