#ifndef CONCLAVE_WORKER_DEVICE_LAYERS_H_
#define CONCLAVE_WORKER_DEVICE_LAYERS_H_

// Enqueues the layers of a model on a stream: from the plan's tokens to the residual stream, and
// from there to sampled tokens. It reads no count and waits for nothing, so that what it enqueues
// can be captured as a graph.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/device/device.h"
#include "model/model_spec.h"
#include "worker/device_exchange.h"
#include "worker/device_step.h"
#include "worker/device_weights.h"

namespace conclave::worker {

class DeviceLayers {
 public:
  struct Parts {  // all outlive the layers
    const device::Device* device = nullptr;
    const model::ModelSpec* spec = nullptr;
    const DeviceWeights* weights = nullptr;
    DeviceExchange* exchange = nullptr;  // null: one rank, or no MoE layer
    std::vector<device::KvLayer> kv;     // [layers]
  };
  struct Options {
    int32_t max_rows = 0;       // of this rank in one step
    int32_t max_head_rows = 0;  // results of one step
    int32_t piece_rows = 0;     // logits of one piece
  };
  DeviceLayers(Parts parts, const Options& options);
  // Takes all memory (law 5).
  absl::Status reserve();

  absl::Status run_layers(device::Stream* stream, const DeviceStepView& step);
  // Head rows [first, first + rows.bound): final norm and LM head into logits(). Only pieces that
  // begin at 0 may have an actual count.
  absl::Status run_head(device::Stream* stream, const DeviceStepView& step, int32_t first,
                        device::RowCount rows);
  absl::Status run_sampler(device::Stream* stream, const DeviceStepView& step, int32_t first,
                           device::RowCount rows);

  const float* logits() const { return logits_; }               // [piece_rows, vocab]
  device::SamplingResult* results() const { return results_; }  // [max_head_rows]
  // Of the step that ran last: [rows * k] of an MoE layer; pairs of each expert, [moe layers * E].
  const int32_t* ids(int32_t moe_layer) const;
  const int32_t* expert_counts() const { return counts_; }

 private:
  void lay_out(class DeviceCursor* cursor);
  device::Context* context() const { return parts_.device->context(); }
  const device::DeviceOps& ops() const { return parts_.device->ops(); }
  absl::Status check(device::Status status) const { return parts_.device->check(status); }
  int64_t hidden() const { return parts_.spec->hidden; }
  device::RowCount rows(const DeviceStepView& step) const;
  device::ExpertLists lists(int32_t moe_layer) const;
  float* expert_weights(int32_t moe_layer) const;
  int32_t* mutable_ids(int32_t moe_layer) const;

  // residual += addend (null: nothing), then the norm for what follows.
  absl::Status norm(const float* addend, const float* weight, void* out);
  // out null: added to the residual stream.
  absl::Status attention(int32_t index, const float* addend, float* out);
  absl::Status feed_forward(int32_t index, const float* addend, float* out);
  absl::Status decide(const DeviceLayer& layer, const float* addend, void* normed);
  absl::Status moe(int32_t index, const void* normed, float* out);
  // What a feed-forward module leaves to be summed; shared_rows_ beside it.
  struct Output {
    device::CombineSources sources{};
    bool shared_is_gated = false;
  };
  // out null: added to the residual stream, and normed_ is what the next layer's attention reads.
  absl::Status add_output(int32_t index, const Output& output, float* out);
  absl::Status local_experts(const DeviceLayer& layer, const void* normed,
                             device::CombineSources* sources);
  absl::Status shared_expert(const DeviceLayer& layer, const void* normed);
  absl::Status exchanged_experts(const DeviceLayer& layer, device::CombineSources* sources);

  Parts parts_;
  Options options_;
  device::RouterShape router_;
  int32_t moe_layers_;
  device::Stream* stream_ = nullptr;  // of the call under way, as step_
  const DeviceStepView* step_ = nullptr;
  device::Memory memory_;
  int32_t* tokens_ = nullptr;          // [max_rows]
  float* residual_ = nullptr;          // [max_rows, H]
  float* attended_ = nullptr;          // [max_rows, H], ladder models
  float* mlp_out_ = nullptr;           // [max_rows, H], ladder models
  float* qkv_ = nullptr;               // [max_rows, (heads + 2 kv_heads) * head_dim]
  std::byte* normed_ = nullptr;        // act [max_rows, H]
  std::byte* query_ = nullptr;         // act [max_rows, heads * head_dim]
  std::byte* context_rows_ = nullptr;  // act [max_rows, heads * head_dim]
  std::byte* pair_rows_ = nullptr;     // act [max_rows * k, H], without an exchange
  std::byte* shared_rows_ = nullptr;   // act [max_rows, H]; also of dense layers
  float* shared_gate_ = nullptr;       // [max_rows]
  int32_t* ids_ = nullptr;             // [moe layers, max_rows * k]
  float* weights_ = nullptr;           // [moe layers, max_rows * k]
  int32_t* counts_ = nullptr;          // [moe layers, E]
  int32_t* offsets_ = nullptr;         // [E + 1]
  int32_t* pairs_ = nullptr;           // [ranks * max_rows * k]
  std::byte* head_rows_ = nullptr;     // act [piece_rows, H]
  float* logits_ = nullptr;            // [piece_rows, vocab]
  device::SamplingResult* results_ = nullptr;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_LAYERS_H_
