#include "model/layer_tensors.h"

#include <array>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::model {
namespace {

// Names of the three matrices of a gated MLP.
struct MlpNames {
  const char* gate;
  const char* up;
  const char* down;
};
constexpr MlpNames kProjections = {"gate_proj.weight", "up_proj.weight", "down_proj.weight"};
constexpr MlpNames kMixtralExpert = {"w1.weight", "w3.weight", "w2.weight"};

class LayerBuilder {
 public:
  LayerBuilder(const ModelSpec& spec, int32_t index, TensorSource* source)
      : spec_(spec),
        layer_(spec.layer[static_cast<size_t>(index)]),
        prefix_(layer_prefix(index)),
        source_(source) {}

  absl::StatusOr<LayerTensors> build() {
    RETURN_IF_ERROR(take_norms());
    RETURN_IF_ERROR(take_attention());
    if (layer_.moe) {
      RETURN_IF_ERROR(take_moe());
    } else {
      ASSIGN_OR_RETURN(out_.dense, take_mlp(prefix_ + "mlp.", kProjections, spec_.dense_width));
    }
    return std::move(out_);
  }

 private:
  absl::Status take_norms();
  absl::Status take_attention();
  absl::Status take_moe();
  absl::Status take_gates(const std::string& mlp);
  absl::Status take_fused_experts(const std::string& mlp);
  absl::StatusOr<MlpTensors> take_mlp(const std::string& prefix, const MlpNames& names,
                                      int64_t width);
  // Where this layer's experts are: the family's own prefix or, fused, "mlp." in every family.
  std::string mlp_prefix(bool* fused) const;

  const ModelSpec& spec_;
  const LayerSpec& layer_;
  std::string prefix_;
  TensorSource* source_;
  LayerTensors out_;
};

absl::Status LayerBuilder::take_norms() {
  const int64_t hidden = spec_.hidden;
  ASSIGN_OR_RETURN(out_.input_norm, source_->take(prefix_ + "input_layernorm.weight", {hidden}));
  ASSIGN_OR_RETURN(out_.post_attention_norm,
                   source_->take(prefix_ + "post_attention_layernorm.weight", {hidden}));
  return absl::OkStatus();
}

absl::Status LayerBuilder::take_attention() {
  const int64_t hidden = spec_.hidden;
  const int64_t q = int64_t{spec_.heads} * spec_.head_dim;
  const int64_t kv = int64_t{spec_.kv_heads} * spec_.head_dim;
  const std::string self = prefix_ + "self_attn.";
  ASSIGN_OR_RETURN(out_.q, source_->take(self + "q_proj.weight", {q, hidden}));
  ASSIGN_OR_RETURN(out_.k, source_->take(self + "k_proj.weight", {kv, hidden}));
  ASSIGN_OR_RETURN(out_.v, source_->take(self + "v_proj.weight", {kv, hidden}));
  ASSIGN_OR_RETURN(out_.o, source_->take(self + "o_proj.weight", {hidden, q}));
  if (spec_.qkv_bias) {
    ASSIGN_OR_RETURN(out_.q_bias, source_->take(self + "q_proj.bias", {q}));
    ASSIGN_OR_RETURN(out_.k_bias, source_->take(self + "k_proj.bias", {kv}));
    ASSIGN_OR_RETURN(out_.v_bias, source_->take(self + "v_proj.bias", {kv}));
  }
  if (spec_.o_bias) {
    ASSIGN_OR_RETURN(out_.o_bias, source_->take(self + "o_proj.bias", {hidden}));
  }
  if (spec_.qk_norm != QkNormKind::kNone) {
    const bool per_head = spec_.qk_norm == QkNormKind::kPerHead;
    const int64_t head = spec_.head_dim;
    ASSIGN_OR_RETURN(out_.q_norm, source_->take(self + "q_norm.weight", {per_head ? head : q}));
    ASSIGN_OR_RETURN(out_.k_norm, source_->take(self + "k_norm.weight", {per_head ? head : kv}));
  }
  return absl::OkStatus();
}

absl::StatusOr<MlpTensors> LayerBuilder::take_mlp(const std::string& prefix, const MlpNames& names,
                                                  int64_t width) {
  MlpTensors mlp;
  const int64_t hidden = spec_.hidden;
  ASSIGN_OR_RETURN(mlp.gate, source_->take(prefix + names.gate, {width, hidden}));
  ASSIGN_OR_RETURN(mlp.up, source_->take(prefix + names.up, {width, hidden}));
  ASSIGN_OR_RETURN(mlp.down, source_->take(prefix + names.down, {hidden, width}));
  return mlp;
}

std::string LayerBuilder::mlp_prefix(bool* fused) const {
  const std::string own =
      prefix_ + (spec_.family == Family::kMixtral ? "block_sparse_moe." : "mlp.");
  for (const std::string& prefix : {own, prefix_ + "mlp."}) {
    *fused = source_->has(prefix + "experts.gate_up_proj");
    if (*fused) return prefix;
  }
  return own;
}

absl::Status LayerBuilder::take_gates(const std::string& mlp) {
  const int64_t experts = spec_.experts;
  const int64_t hidden = spec_.hidden;
  if (layer_.has_own_gate) {
    ASSIGN_OR_RETURN(out_.gate, source_->take(mlp + "gate.weight", {experts, hidden}));
  }
  if (layer_.hosts_pre_gate) {
    ASSIGN_OR_RETURN(out_.pre_gate, source_->take(mlp + "pre_gate.weight", {experts, hidden}));
  }
  return absl::OkStatus();
}

absl::Status LayerBuilder::take_fused_experts(const std::string& mlp) {
  const int64_t experts = spec_.experts;
  const int64_t width = spec_.expert_width;
  const int64_t hidden = spec_.hidden;
  ASSIGN_OR_RETURN(const Tensor gate_up,
                   source_->take(mlp + "experts.gate_up_proj", {experts, 2 * width, hidden}));
  ASSIGN_OR_RETURN(const Tensor down,
                   source_->take(mlp + "experts.down_proj", {experts, hidden, width}));
  const auto slice = [](const Tensor& whole, int64_t first_row, int64_t rows) {
    Tensor part = whole;
    part.data += static_cast<size_t>(first_row * whole.cols) * dtype_bytes(whole.dtype);
    part.rows = rows;
    return part;
  };
  for (int64_t e = 0; e < experts; ++e) {
    out_.experts.push_back({.gate = slice(gate_up, 2 * e * width, width),
                            .up = slice(gate_up, (2 * e + 1) * width, width),
                            .down = slice(down, e * hidden, hidden)});
  }
  return absl::OkStatus();
}

absl::Status LayerBuilder::take_moe() {
  bool fused = false;
  const std::string mlp = mlp_prefix(&fused);
  RETURN_IF_ERROR(take_gates(mlp));
  if (fused) {
    RETURN_IF_ERROR(take_fused_experts(mlp));
  } else {
    const MlpNames& names = spec_.family == Family::kMixtral ? kMixtralExpert : kProjections;
    for (int32_t e = 0; e < spec_.experts; ++e) {
      ASSIGN_OR_RETURN(MlpTensors expert,
                       take_mlp(absl::StrCat(mlp, "experts.", e, "."), names, spec_.expert_width));
      out_.experts.push_back(expert);
    }
  }
  if (spec_.shared_expert_width > 0) {
    ASSIGN_OR_RETURN(out_.shared, take_mlp(prefix_ + "mlp.shared_expert.", kProjections,
                                           spec_.shared_expert_width));
    ASSIGN_OR_RETURN(out_.shared_gate, source_->take(prefix_ + "mlp.shared_expert_gate.weight",
                                                     {1, int64_t{spec_.hidden}}));
  }
  return absl::OkStatus();
}

}  // namespace

std::string layer_prefix(int32_t index) { return absl::StrCat("model.layers.", index, "."); }

absl::StatusOr<LayerTensors> take_layer(const ModelSpec& spec, int32_t index,
                                        TensorSource* source) {
  return LayerBuilder(spec, index, source).build();
}

}  // namespace conclave::model
