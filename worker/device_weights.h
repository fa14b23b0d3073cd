#ifndef CONCLAVE_WORKER_DEVICE_WEIGHTS_H_
#define CONCLAVE_WORKER_DEVICE_WEIGHTS_H_

// The weights of one rank in device memory, in the back end's layout, and how they get there.

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "expert_placement/table/placement_table.h"
#include "kernels/device/device.h"
#include "model/model_spec.h"
#include "model/weights.h"

namespace conclave::worker {

struct DeviceLayer {
  device::AttentionShape attention{};
  device::AttentionParameters parameters{};
  const float* input_norm = nullptr;           // [H]
  const float* post_attention_norm = nullptr;  // [H]
  device::PackedMatrix qkv{};                  // [(heads + 2 kv_heads) * head_dim, H]
  const float* qkv_bias = nullptr;
  device::PackedMatrix o{};  // [H, heads * head_dim]
  const float* o_bias = nullptr;
  int32_t moe_index = -1;           // among the MoE layers; -1: a dense layer
  device::PackedMatrix gate{};      // [E, H]; data null: this layer is routed by a pre-gate
  device::PackedMatrix pre_gate{};  // [E, H] of a later MoE layer; data null: hosts none
  bool has_shared = false;
  device::ExpertSlot shared{};
  device::PackedMatrix shared_gate{};           // [1, H]; data null: the shared expert is not gated
  device::ExpertSlot dense{};                   // of a dense layer
  const device::ExpertSlot* experts = nullptr;  // device [E]; data null in slots of other ranks
};

struct DeviceWeights {
  device::Memory vectors;                // norms, biases, frequencies
  device::Memory matrices;               // everything else but the routed experts
  device::Memory experts;                // one slot after another
  device::Memory slots;                  // device::ExpertSlot [moe layers, E]
  const std::byte* embedding = nullptr;  // row-major [vocab, H]
  int32_t embedding_dtype = 0;
  const float* final_norm = nullptr;
  device::PackedMatrix lm_head{};
  device::ExpertShape expert_shape{};
  device::ExpertShape shared_shape{};
  device::ExpertShape dense_shape{};
  std::vector<DeviceLayer> layers;
  uint64_t bytes() const {
    return vectors.bytes() + matrices.bytes() + experts.bytes() + slots.bytes();
  }
};

struct DeviceLoadRequest {
  const model::ModelSpec* spec = nullptr;
  const model::Weights* weights = nullptr;
  const device::Device* device = nullptr;  // outlives the result
  const placement::PlacementTable* placement = nullptr;
  int32_t rank = 0;
  int threads = 4;
  // Bytes of weight files done and to do for this rank, called from the calling thread now and
  // then. An error stops the loading.
  std::function<absl::Status(uint64_t done, uint64_t total)> progress;
};

// Reads the files with several threads through pinned memory and packs on the device; weights of a
// dummy model are made there. UNIMPLEMENTED: a shape that the back end cannot run;
// RESOURCE_EXHAUSTED: the model does not fit.
absl::StatusOr<DeviceWeights> load_device_weights(const DeviceLoadRequest& request);

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_WEIGHTS_H_
