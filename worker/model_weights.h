#ifndef CONCLAVE_WORKER_MODEL_WEIGHTS_H_
#define CONCLAVE_WORKER_MODEL_WEIGHTS_H_

// The weights that every rank holds, in the kernels' layout: everything but the routed experts.

#include <cstdint>
#include <vector>

#include "kernels/kernel_set.h"
#include "worker/host_region.h"

namespace conclave::worker {

struct LayerWeights {
  kernels::AttentionShape attention;
  kernels::AttentionParameters parameters;
  const float* input_norm = nullptr;           // [H]
  const float* post_attention_norm = nullptr;  // [H]
  kernels::PackedMatrix qkv;                   // [(heads + 2 kv_heads) * head_dim, H]
  const float* qkv_bias = nullptr;             // null: none
  kernels::PackedMatrix o;                     // [H, heads * head_dim]
  const float* o_bias = nullptr;
  int32_t moe_index = -1;          // among the MoE layers; -1: a dense layer
  kernels::PackedMatrix gate;      // [E, H]; data null: this layer is routed by a pre-gate
  kernels::PackedMatrix pre_gate;  // [E, H] of a later MoE layer; data null: hosts none
  bool has_shared = false;
  kernels::ExpertWeights shared;      // of an MoE layer
  kernels::PackedMatrix shared_gate;  // [1, H]; data null: the shared expert is not gated
  kernels::ExpertWeights dense;       // of a dense layer
};

struct ModelWeights {
  HostRegion memory;
  kernels::ConstMatrixView embedding;  // [vocab, H]; data null: tied, rows are looked up in lm_head
  const float* final_norm = nullptr;   // [H]
  kernels::PackedMatrix lm_head;       // [vocab, H]
  std::vector<LayerWeights> layers;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_MODEL_WEIGHTS_H_
