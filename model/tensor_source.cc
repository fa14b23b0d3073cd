#include "model/tensor_source.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/json_fields.h"
#include "model/model_fingerprint.h"

namespace conclave::model {
namespace {

std::optional<DType> weight_dtype(const std::string& name) {
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  return std::nullopt;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

void set_extent(const std::vector<int64_t>& shape, Tensor* tensor) {
  tensor->cols = shape.back();
  tensor->rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) tensor->rows *= shape[i];
}

class FileSource final : public TensorSource {
 public:
  explicit FileSource(const Checkpoint* checkpoint) : checkpoint_(checkpoint) {}

  bool has(const std::string& name) const override { return checkpoint_->find(name) != nullptr; }

  absl::StatusOr<Tensor> take(const std::string& name, std::vector<int64_t> shape) override {
    const Checkpoint::Item* item = checkpoint_->find(name);
    if (const std::string* file = checkpoint_->promised(name); item == nullptr && file != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(*file, ": tensor ", printable(name),
                                                     " is missing, though ", checkpoint_->source(),
                                                     " says that it is in this file"));
    }
    if (item == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint_->source(), ": tensor ", printable(name),
                       " is missing, expected shape ", shape_text(shape)));
    }
    const std::string where = absl::StrCat(item->file->path(), ": tensor ", printable(name));
    if (item->entry->shape != shape) {
      return absl::InvalidArgumentError(absl::StrCat(where, " has shape ",
                                                     shape_text(item->entry->shape), ", expected ",
                                                     shape_text(shape), " by config.json"));
    }
    const std::optional<DType> dtype = weight_dtype(item->entry->dtype);
    if (!dtype) {
      return absl::UnimplementedError(
          absl::StrCat(where, " has dtype ", item->entry->dtype, ", expected F32, F16 or BF16"));
    }
    Tensor tensor;
    tensor.data = item->file->data(*item->entry).data();
    tensor.dtype = *dtype;
    set_extent(shape, &tensor);
    return record(name, tensor, std::move(shape));
  }

 private:
  const Checkpoint* checkpoint_;
};

class DummySource final : public TensorSource {
 public:
  DummySource(DType dtype, uint64_t seed) : dtype_(dtype), seed_(seed) {}

  bool has(const std::string&) const override { return false; }

  absl::StatusOr<Tensor> take(const std::string& name, std::vector<int64_t> shape) override {
    Tensor tensor;
    tensor.dtype = dtype_;
    StableHash hash;
    hash.add(seed_);
    hash.add_text(name);
    tensor.dummy_seed = hash.value();
    set_extent(shape, &tensor);
    return record(name, tensor, std::move(shape));
  }

 private:
  DType dtype_;
  uint64_t seed_;
};

}  // namespace

Tensor TensorSource::record(const std::string& name, Tensor tensor, std::vector<int64_t> shape) {
  taken_.push_back({name, tensor, std::move(shape)});
  return tensor;
}

std::unique_ptr<TensorSource> make_file_source(const Checkpoint* checkpoint) {
  return std::make_unique<FileSource>(checkpoint);
}

std::unique_ptr<TensorSource> make_dummy_source(DType dtype, uint64_t seed) {
  return std::make_unique<DummySource>(dtype, seed);
}

}  // namespace conclave::model
