#include "model/model_fingerprint.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"

namespace conclave::model {
namespace {

// Each sampled place costs a page read from disk on a cold start.
constexpr size_t kSampledTensors = 48;
constexpr size_t kSampleBytes = 256;

void add_spec(const ModelSpec& spec, StableHash* hash) {
  hash->add(static_cast<int>(spec.family));
  for (const int32_t value :
       {spec.vocab, spec.hidden, spec.layers, spec.heads, spec.kv_heads, spec.head_dim,
        spec.experts, spec.top_k, spec.expert_width, spec.shared_expert_width, spec.dense_width,
        spec.pre_gate_distance, static_cast<int32_t>(spec.qk_norm), spec.rope.rotary_dim}) {
    hash->add(value);
  }
  for (const bool value : {spec.tied_embeddings, spec.normalize_top_k, spec.ladder_residual,
                           spec.qkv_bias, spec.o_bias}) {
    hash->add(value);
  }
  hash->add(spec.norm_eps);
  hash->add(spec.clip_qkv);
  hash->add(spec.rope.attention_factor);
  for (const float frequency : spec.rope.inverse_freq) hash->add(frequency);
  for (const LayerSpec& layer : spec.layer) {
    hash->add(layer.moe);
    hash->add(layer.sliding_window);
  }
}

void add_samples(const Tensor& tensor, StableHash* hash) {
  if (tensor.data == nullptr) {
    hash->add(tensor.dummy_seed);
    return;
  }
  const size_t bytes = tensor.bytes();
  const size_t length = std::min(bytes, kSampleBytes);
  hash->add_bytes({tensor.data, length});
  hash->add_bytes({tensor.data + (bytes - length) / 2, length});
  hash->add_bytes({tensor.data + (bytes - length), length});
}

}  // namespace

std::string model_fingerprint(const ModelSpec& spec, std::span<const NamedTensor> tensors) {
  StableHash hash;
  add_spec(spec, &hash);
  std::vector<const NamedTensor*> order;
  order.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const NamedTensor* a, const NamedTensor* b) { return a->name < b->name; });
  for (const NamedTensor* named : order) {
    hash.add_text(named->name);
    hash.add(static_cast<int>(named->tensor.dtype));
    for (const int64_t dim : named->shape) hash.add(dim);
  }
  const size_t stride = std::max<size_t>(1, order.size() / kSampledTensors);
  for (size_t i = 0; i < order.size(); i += stride) add_samples(order[i]->tensor, &hash);
  return absl::StrFormat("%016x", hash.value());
}

}  // namespace conclave::model
