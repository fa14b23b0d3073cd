#include "worker/routing_plan.h"

#include <algorithm>

namespace conclave::worker {

RoutingPlan::RoutingPlan(const model::ModelSpec& spec, int32_t max_rows)
    : shape_{spec.experts, spec.top_k, spec.normalize_top_k},
      distance_(spec.pre_gate_distance),
      moe_layers_(static_cast<int32_t>(spec.moe_layers().size())),
      slot_size_(static_cast<size_t>(max_rows) * static_cast<size_t>(spec.top_k)),
      logits_(static_cast<size_t>(max_rows) * static_cast<size_t>(spec.experts)),
      ids_(slot_size_ * static_cast<size_t>(distance_ + 1)),
      weights_(ids_.size()) {}

void RoutingPlan::decide(kernels::KernelSet* kernels, const LayerWeights& layer,
                         const kernels::ConstMatrixView& normed) {
  if (layer.gate.data != nullptr) route(kernels, layer.gate, layer.moe_index, normed);
  const int32_t later = pre_gated_by(layer);
  if (later >= 0) route(kernels, layer.pre_gate, later, normed);
}

void RoutingPlan::route(kernels::KernelSet* kernels, const kernels::PackedMatrix& gate,
                        int32_t moe_layer, const kernels::ConstMatrixView& normed) {
  const kernels::MatrixView logits{logits_.data(), DType::kF32, normed.rows, shape_.experts,
                                   shape_.experts};
  const size_t pairs = static_cast<size_t>(normed.rows) * static_cast<size_t>(shape_.top_k);
  kernels->matmul(normed, gate, nullptr, logits);
  kernels->route(shape_, logits, {ids_.data() + slot(moe_layer), pairs},
                 {weights_.data() + slot(moe_layer), pairs});
}

std::span<const int32_t> RoutingPlan::ids(int32_t moe_layer, int64_t rows) const {
  return {ids_.data() + slot(moe_layer), static_cast<size_t>(rows * shape_.top_k)};
}

std::span<const float> RoutingPlan::weights(int32_t moe_layer, int64_t rows) const {
  return {weights_.data() + slot(moe_layer), static_cast<size_t>(rows * shape_.top_k)};
}

void RoutingPlan::record(bool on, int64_t rows) {
  recording_ = on;
  if (!on) return;
  recorded_rows_ = static_cast<size_t>(rows);
  recorded_.resize(static_cast<size_t>(moe_layers_) * recorded_rows_ *
                   static_cast<size_t>(shape_.top_k));
}

void RoutingPlan::note(int32_t moe_layer, int64_t rows) {
  if (!recording_) return;
  const std::span<const int32_t> chosen = ids(moe_layer, rows);
  std::copy(chosen.begin(), chosen.end(),
            recorded_.begin() + static_cast<int64_t>(moe_layer) * static_cast<int64_t>(chosen.size()));
}

std::span<const int32_t> RoutingPlan::recorded(int32_t moe_layer, int64_t rows) const {
  const size_t pairs = recorded_rows_ * static_cast<size_t>(shape_.top_k);
  return {recorded_.data() + static_cast<size_t>(moe_layer) * pairs,
          static_cast<size_t>(rows * shape_.top_k)};
}

}  // namespace conclave::worker
