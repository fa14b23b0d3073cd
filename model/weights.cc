#include "model/weights.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/checkpoint.h"
#include "model/layer_tensors.h"
#include "model/model_fingerprint.h"
#include "model/tensor_source.h"

namespace conclave::model {
namespace {

constexpr char kEmbedding[] = "model.embed_tokens.weight";
constexpr char kLmHead[] = "lm_head.weight";

// Extended families ("_ext") without q/k norms of their own still use them if the file has them, of
// the kind that the first one's shape shows. Plain families leave them, as their classes do.
void refine_qk_norm(const Checkpoint& checkpoint, ModelSpec* spec) {
  constexpr std::string_view kSuffix = "_ext";
  if (!std::string_view(spec->model_type).ends_with(kSuffix)) return;
  for (int32_t l = 0; l < spec->layers && spec->qk_norm == QkNormKind::kNone; ++l) {
    const Checkpoint::Item* item = checkpoint.find(layer_prefix(l) + "self_attn.q_norm.weight");
    if (item == nullptr) continue;
    const bool per_head = item->entry->shape == std::vector<int64_t>{spec->head_dim};
    spec->qk_norm = per_head ? QkNormKind::kPerHead : QkNormKind::kFullWidth;
  }
}

// Config and family say which tensors a model has. A head in the files counts for more: a config
// that ties it is then wrong.
absl::Status refine_spec(const Checkpoint& checkpoint, ModelSpec* spec) {
  refine_qk_norm(checkpoint, spec);
  const bool has_head = checkpoint.find(kLmHead) != nullptr;
  if (!has_head && !spec->tied_embeddings && checkpoint.promised(kLmHead) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint.source(), ": tensor \"", kLmHead, "\" is missing, expected shape [", spec->vocab,
        ", ", spec->hidden, "], as tie_word_embeddings is not true in config.json"));
  }
  spec->tied_embeddings = !has_head && spec->tied_embeddings;
  for (std::string& note : checkpoint.broken_promises()) spec->notes.push_back(std::move(note));
  return absl::OkStatus();
}

class LoadedWeights final : public Weights {
 public:
  absl::Status take_all(const ModelSpec& spec, TensorSource* source) {
    const int64_t vocab = spec.vocab;
    const int64_t hidden = spec.hidden;
    ASSIGN_OR_RETURN(embedding_, source->take(kEmbedding, {vocab, hidden}));
    ASSIGN_OR_RETURN(final_norm_, source->take("model.norm.weight", {hidden}));
    lm_head_ = embedding_;
    if (!spec.tied_embeddings) {
      ASSIGN_OR_RETURN(lm_head_, source->take(kLmHead, {vocab, hidden}));
    }
    layers_.reserve(static_cast<size_t>(spec.layers));
    for (int32_t l = 0; l < spec.layers; ++l) {
      ASSIGN_OR_RETURN(LayerTensors layer, take_layer(spec, l, source));
      layers_.push_back(std::move(layer));
    }
    for (const NamedTensor& named : source->taken()) total_bytes_ += named.tensor.bytes();
    fingerprint_ = model_fingerprint(spec, source->taken());
    return absl::OkStatus();
  }

  void keep_files(const Checkpoint& checkpoint, const TensorSource& source) {
    files_ = checkpoint.files();
    std::set<std::string> used;
    for (const NamedTensor& named : source.taken()) {
      used.insert(checkpoint.find(named.name)->stored_name);
    }
    for (std::string& name : checkpoint.names()) {
      if (used.find(name) == used.end()) ignored_.push_back(std::move(name));
    }
  }

  const Tensor& embedding() const override { return embedding_; }
  const Tensor& final_norm() const override { return final_norm_; }
  const Tensor& lm_head() const override { return lm_head_; }
  const LayerTensors& layer(int32_t index) const override {
    return layers_[static_cast<size_t>(index)];
  }
  uint64_t total_bytes() const override { return total_bytes_; }
  const std::string& fingerprint() const override { return fingerprint_; }
  const std::vector<std::string>& ignored() const override { return ignored_; }

  void release(const Tensor& tensor) const override {
    // Every view lies in one of the maps, and madvise works on addresses: any file will do.
    if (tensor.data != nullptr && !files_.empty()) {
      files_.front()->release({tensor.data, tensor.bytes()});
    }
  }

 private:
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  Tensor embedding_, final_norm_, lm_head_;
  std::vector<LayerTensors> layers_;
  uint64_t total_bytes_ = 0;
  std::string fingerprint_;
  std::vector<std::string> ignored_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Weights>> Weights::open(const std::string& folder, ModelSpec* spec) {
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::open(folder));
  RETURN_IF_ERROR(refine_spec(checkpoint, spec));
  const std::unique_ptr<TensorSource> source = make_file_source(&checkpoint);
  auto weights = std::make_unique<LoadedWeights>();
  RETURN_IF_ERROR(weights->take_all(*spec, source.get()));
  weights->keep_files(checkpoint, *source);
  spec->weight_dtype = weights->embedding().dtype;
  return std::unique_ptr<Weights>(std::move(weights));
}

std::unique_ptr<Weights> Weights::dummy(const ModelSpec& spec, DType dtype, uint64_t seed) {
  const std::unique_ptr<TensorSource> source = make_dummy_source(dtype, seed);
  auto weights = std::make_unique<LoadedWeights>();
  // A dummy source has every tensor in the shape asked for, so nothing can be missing.
  weights->take_all(spec, source.get()).IgnoreError();
  return std::unique_ptr<Weights>(std::move(weights));
}

}  // namespace conclave::model
