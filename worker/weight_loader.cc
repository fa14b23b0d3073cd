#include "worker/weight_loader.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "worker/weight_packer.h"

namespace conclave::worker {
namespace {

using model::Tensor;

const Tensor* pointer(const std::optional<Tensor>& tensor) {
  return tensor.has_value() ? &*tensor : nullptr;
}

// Lays the shared weights out over a region: once without memory to learn the size, once for real.
class SharedWeightLayout {
 public:
  SharedWeightLayout(const LoadRequest& request, WeightPacker* packer, std::byte* base)
      : request_(request), spec_(*request.spec), packer_(packer), cursor_(base), packing_(base != nullptr) {}

  absl::Status run(ModelWeights* out) {
    const model::Weights& weights = *request_.weights;
    inverse_freq_ = cursor_.take_array<float>(spec_.rope.inverse_freq.size());
    if (packing_) {
      std::copy(spec_.rope.inverse_freq.begin(), spec_.rope.inverse_freq.end(), inverse_freq_);
    }
    if (!spec_.tied_embeddings) {
      std::byte* table = cursor_.take(packer_->table_bytes(weights.embedding()));
      if (packing_) out->embedding = packer_->copy_table(weights.embedding(), table);
    }
    out->layers.resize(static_cast<size_t>(spec_.layers));
    int32_t moe_index = 0;
    for (int32_t index = 0; index < spec_.layers; ++index) {
      LayerWeights& layer = out->layers[static_cast<size_t>(index)];
      layer.moe_index = spec_.layer[static_cast<size_t>(index)].moe ? moe_index++ : -1;
      attention(index, &layer);
      feed_forward(index, &layer);
      RETURN_IF_ERROR(packer_->check());
    }
    out->final_norm = vector({{&weights.final_norm(), spec_.hidden}}, 1);
    out->lm_head = matrix({&weights.lm_head()});
    return packer_->check();
  }
  size_t bytes() const { return cursor_.used(); }

 private:
  void attention(int32_t index, LayerWeights* layer) {
    const model::LayerTensors& tensors = request_.weights->layer(index);
    layer->attention = attention_shape(index);
    layer->input_norm = vector({{&tensors.input_norm, spec_.hidden}}, 1);
    layer->post_attention_norm = vector({{&tensors.post_attention_norm, spec_.hidden}}, 1);
    layer->qkv = matrix({&tensors.q, &tensors.k, &tensors.v});
    layer->o = matrix({&tensors.o});
    if (tensors.q_bias || tensors.k_bias || tensors.v_bias) {
      layer->qkv_bias = vector({{pointer(tensors.q_bias), tensors.q.rows},
                                {pointer(tensors.k_bias), tensors.k.rows},
                                {pointer(tensors.v_bias), tensors.v.rows}},
                               0);
    }
    if (tensors.o_bias) layer->o_bias = vector({{pointer(tensors.o_bias), spec_.hidden}}, 0);
    if (tensors.q_norm) {
      layer->parameters.q_norm = vector({{pointer(tensors.q_norm), tensors.q_norm->cols}}, 1);
    }
    if (tensors.k_norm) {
      layer->parameters.k_norm = vector({{pointer(tensors.k_norm), tensors.k_norm->cols}}, 1);
    }
    layer->parameters.inverse_freq = inverse_freq_;
    layer->parameters.attention_factor = spec_.rope.attention_factor;
  }

  void feed_forward(int32_t index, LayerWeights* layer) {
    const model::LayerTensors& tensors = request_.weights->layer(index);
    if (layer->moe_index < 0) {
      if (tensors.dense) layer->dense = expert(*tensors.dense);
      return;
    }
    if (tensors.gate) layer->gate = matrix({pointer(tensors.gate)});
    if (tensors.pre_gate) layer->pre_gate = matrix({pointer(tensors.pre_gate)});
    if (tensors.shared) {
      layer->has_shared = true;
      layer->shared = expert(*tensors.shared);
    }
    if (tensors.shared_gate) layer->shared_gate = matrix({pointer(tensors.shared_gate)});
  }

  kernels::AttentionShape attention_shape(int32_t index) const {
    kernels::AttentionShape shape;
    shape.heads = spec_.heads;
    shape.kv_heads = spec_.kv_heads;
    shape.head_dim = spec_.head_dim;
    shape.rotary_dim = spec_.rope.rotary_dim;
    shape.sliding_window = spec_.layer[static_cast<size_t>(index)].sliding_window;
    shape.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec_.head_dim)));
    switch (spec_.qk_norm) {
      case model::QkNormKind::kNone: shape.qk_norm = kernels::QkNorm::kNone; break;
      case model::QkNormKind::kPerHead: shape.qk_norm = kernels::QkNorm::kPerHead; break;
      case model::QkNormKind::kFullWidth: shape.qk_norm = kernels::QkNorm::kFullWidth; break;
    }
    shape.norm_eps = spec_.norm_eps;
    shape.clip = spec_.clip_qkv;
    return shape;
  }

  kernels::PackedMatrix matrix(std::initializer_list<const Tensor*> parts) {
    const std::span<const Tensor* const> span(parts.begin(), parts.size());
    std::byte* out = cursor_.take(packer_->matrix_bytes(span));
    return packing_ ? packer_->pack_matrix(span, out) : kernels::PackedMatrix{};
  }
  const float* vector(std::initializer_list<WeightPacker::VectorPart> parts, float dummy_value) {
    int64_t count = 0;
    for (const WeightPacker::VectorPart& part : parts) count += part.count;
    auto* out = cursor_.take_array<float>(static_cast<size_t>(count));
    if (packing_) packer_->copy_vector({parts.begin(), parts.size()}, dummy_value, out);
    return out;
  }
  kernels::ExpertWeights expert(const model::MlpTensors& tensors) {
    std::byte* out = cursor_.take(packer_->expert_bytes(tensors));
    return packing_ ? packer_->pack_expert(tensors, out) : kernels::ExpertWeights{};
  }

  const LoadRequest& request_;
  const model::ModelSpec& spec_;
  WeightPacker* packer_;
  RegionCursor cursor_;
  bool packing_;
  float* inverse_freq_ = nullptr;
};

// Experts come from the mapped weight files, packed on the way in.
class FileBacking : public ExpertBacking {
 public:
  FileBacking(std::shared_ptr<const model::Weights> weights, std::vector<int32_t> moe_layers,
              std::shared_ptr<WeightPacker> packer)
      : weights_(std::move(weights)), moe_layers_(std::move(moe_layers)), packer_(std::move(packer)) {}
  absl::StatusOr<kernels::ExpertWeights> load(int32_t moe_layer, int32_t expert,
                                              std::byte* slot) override {
    const std::lock_guard lock(mutex_);
    const int32_t layer = moe_layers_[static_cast<size_t>(moe_layer)];
    const kernels::ExpertWeights packed =
        packer_->pack_expert(weights_->layer(layer).experts[static_cast<size_t>(expert)], slot);
    RETURN_IF_ERROR(packer_->check());
    return packed;
  }

 private:
  std::mutex mutex_;  // the packer has scratch of its own
  std::shared_ptr<const model::Weights> weights_;
  std::vector<int32_t> moe_layers_;
  std::shared_ptr<WeightPacker> packer_;
};

uint64_t bytes_to_load(const LoadRequest& request) {
  const model::ModelSpec& spec = *request.spec;
  const model::Weights& weights = *request.weights;
  uint64_t total = weights.total_bytes();
  const std::vector<int32_t> moe_layers = spec.moe_layers();
  for (size_t m = 0; m < moe_layers.size(); ++m) {
    const model::LayerTensors& layer = weights.layer(moe_layers[m]);
    for (int32_t e = 0; e < spec.experts; ++e) {
      bool here = false;
      for (const int32_t holder : request.placement->holders(static_cast<int32_t>(m), e)) {
        here = here || holder == request.rank;
      }
      const model::MlpTensors& expert = layer.experts[static_cast<size_t>(e)];
      if (!here) total -= expert.gate.bytes() + expert.up.bytes() + expert.down.bytes();
    }
  }
  return total;
}

absl::Status check_shapes(const model::ModelSpec& spec, const ModelWeights& weights,
                          const kernels::KernelSet& kernels) {
  for (const LayerWeights& layer : weights.layers) RETURN_IF_ERROR(kernels.supports(layer.attention));
  if (spec.moe_layers().empty()) return absl::OkStatus();
  return kernels.supports(kernels::RouterShape{spec.experts, spec.top_k, spec.normalize_top_k});
}

absl::StatusOr<std::unique_ptr<ExpertStore>> load_experts(const LoadRequest& request,
                                                          std::shared_ptr<WeightPacker> packer) {
  const std::vector<int32_t> moe_layers = request.spec->moe_layers();
  ExpertStore::Options options;
  options.experts = request.spec->experts;
  options.budget_bytes = request.expert_budget_bytes;
  options.extra_slots = request.extra_expert_slots;
  for (size_t m = 0; m < moe_layers.size(); ++m) {
    options.placed.push_back(request.placement->experts_of(static_cast<int32_t>(m), request.rank));
    // Of all experts: any may come here later.
    for (const model::MlpTensors& expert : request.weights->layer(moe_layers[m]).experts) {
      options.slot_bytes = std::max(options.slot_bytes, packer->expert_bytes(expert));
    }
  }
  auto backing = std::make_unique<FileBacking>(request.weights, moe_layers, std::move(packer));
  ASSIGN_OR_RETURN(std::unique_ptr<ExpertStore> store,
                   ExpertStore::create(options, std::move(backing)));
  for (size_t m = 0; m < options.placed.size(); ++m) {
    RETURN_IF_ERROR(store->prefetch(static_cast<int32_t>(m), options.placed[m]));
  }
  return store;
}

}  // namespace

absl::StatusOr<LoadedWeights> load_weights(const LoadRequest& request) {
  auto packer = std::make_shared<WeightPacker>(request.kernels, request.weights.get());
  LoadedWeights loaded;
  SharedWeightLayout measure(request, packer.get(), nullptr);
  RETURN_IF_ERROR(measure.run(&loaded.model));
  RETURN_IF_ERROR(check_shapes(*request.spec, loaded.model, *request.kernels));
  ASSIGN_OR_RETURN(loaded.model.memory, HostRegion::create(measure.bytes(), "weights"));

  if (request.progress != nullptr) {
    const uint64_t total = bytes_to_load(request);
    packer->set_progress(
        [progress = request.progress, total](uint64_t done) { return progress(std::min(done, total), total); });
  }
  SharedWeightLayout pack(request, packer.get(), loaded.model.memory.data());
  RETURN_IF_ERROR(pack.run(&loaded.model));
  ASSIGN_OR_RETURN(loaded.experts, load_experts(request, packer));
  packer->release_scratch();
  packer->set_progress(nullptr);  // experts that come back later are no part of the loading
  loaded.bytes = loaded.model.memory.bytes() + loaded.experts->resident_bytes();
  return loaded;
}

}  // namespace conclave::worker
