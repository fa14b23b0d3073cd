#include "model/model_spec.h"

namespace conclave::model {
namespace {

int64_t norm_parameters(const ModelSpec& spec) {
  const int64_t q = int64_t{spec.heads} * spec.head_dim;
  const int64_t kv = int64_t{spec.kv_heads} * spec.head_dim;
  int64_t total = 2 * int64_t{spec.hidden};
  if (spec.qk_norm == QkNormKind::kPerHead) total += 2 * int64_t{spec.head_dim};
  if (spec.qk_norm == QkNormKind::kFullWidth) total += q + kv;
  return total;
}

int64_t attention_parameters(const ModelSpec& spec) {
  const int64_t q = int64_t{spec.heads} * spec.head_dim;
  const int64_t kv = int64_t{spec.kv_heads} * spec.head_dim;
  int64_t total = spec.hidden * (2 * q + 2 * kv);
  if (spec.qkv_bias) total += q + 2 * kv;
  if (spec.o_bias) total += spec.hidden;
  return total;
}

int64_t mlp_parameters(const ModelSpec& spec, int64_t width) { return 3 * spec.hidden * width; }

// Everything but the routed experts.
int64_t shared_by_all_tokens(const ModelSpec& spec) {
  int64_t total = int64_t{spec.vocab} * spec.hidden * (spec.tied_embeddings ? 1 : 2) + spec.hidden;
  for (const LayerSpec& layer : spec.layer) {
    total += norm_parameters(spec) + attention_parameters(spec);
    if (!layer.moe) {
      total += mlp_parameters(spec, spec.dense_width);
      continue;
    }
    const int gates = (layer.has_own_gate ? 1 : 0) + (layer.hosts_pre_gate ? 1 : 0);
    total += gates * int64_t{spec.experts} * spec.hidden;
    if (spec.shared_expert_width > 0) {
      total += mlp_parameters(spec, spec.shared_expert_width) + spec.hidden;
    }
  }
  return total;
}

}  // namespace

std::vector<int32_t> ModelSpec::moe_layers() const {
  std::vector<int32_t> out;
  for (size_t l = 0; l < layer.size(); ++l) {
    if (layer[l].moe) out.push_back(static_cast<int32_t>(l));
  }
  return out;
}

int64_t ModelSpec::expert_parameters() const { return mlp_parameters(*this, expert_width); }

int64_t ModelSpec::total_parameters() const {
  return shared_by_all_tokens(*this) +
         static_cast<int64_t>(moe_layers().size()) * experts * expert_parameters();
}

int64_t ModelSpec::active_parameters() const {
  return shared_by_all_tokens(*this) +
         static_cast<int64_t>(moe_layers().size()) * top_k * expert_parameters();
}

int64_t ModelSpec::kv_bytes_per_token(ComputeType compute) const {
  return 2 * int64_t{layers} * kv_heads * head_dim *
         static_cast<int64_t>(dtype_bytes(activation_dtype(compute)));
}

}  // namespace conclave::model
