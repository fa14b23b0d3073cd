#ifndef CONCLAVE_WORKER_ROUTING_PLAN_H_
#define CONCLAVE_WORKER_ROUTING_PLAN_H_

// Which experts each row of a step uses, layer by layer. With pre-gated routing (after Hwang et al., ISCA
// 2024, arXiv 2308.12066) a layer's answer is known `distance` MoE layers earlier and waits here.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernel_set.h"
#include "model/model_spec.h"
#include "worker/model_weights.h"

namespace conclave::worker {

class RoutingPlan {
 public:
  RoutingPlan(const model::ModelSpec& spec, int32_t max_rows);

  // Runs the routers that this MoE layer hosts: its own gate, and the pre-gate of a later layer.
  void decide(kernels::KernelSet* kernels, const LayerWeights& layer,
              const kernels::ConstMatrixView& normed);
  // [rows * top_k] of an MoE layer whose routing was decided; ids ascending for each row.
  std::span<const int32_t> ids(int32_t moe_layer, int64_t rows) const;
  std::span<const float> weights(int32_t moe_layer, int64_t rows) const;
  // The MoE layer that this layer's pre-gate decides; -1: none.
  int32_t pre_gated_by(const LayerWeights& layer) const {
    return layer.pre_gate.data == nullptr ? -1 : layer.moe_index + distance_;
  }

  // Keeps a copy of every layer's ids from now on, until turned off. Allocates.
  void record(bool on, int64_t rows);
  void note(int32_t moe_layer, int64_t rows);
  // [rows * top_k] of the recorded step.
  std::span<const int32_t> recorded(int32_t moe_layer, int64_t rows) const;
  int32_t moe_layers() const { return moe_layers_; }
  int32_t top_k() const { return shape_.top_k; }

 private:
  void route(kernels::KernelSet* kernels, const kernels::PackedMatrix& gate, int32_t moe_layer,
             const kernels::ConstMatrixView& normed);
  size_t slot(int32_t moe_layer) const {
    return static_cast<size_t>(moe_layer % (distance_ + 1)) * slot_size_;
  }

  kernels::RouterShape shape_;
  int32_t distance_;
  int32_t moe_layers_;
  size_t slot_size_;  // max_rows * top_k
  std::vector<float> logits_;      // [max_rows, E]
  std::vector<int32_t> ids_;       // [distance + 1, max_rows * top_k]
  std::vector<float> weights_;
  bool recording_ = false;
  size_t recorded_rows_ = 0;
  std::vector<int32_t> recorded_;  // [moe layers, rows * top_k]
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_ROUTING_PLAN_H_
