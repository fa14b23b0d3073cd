#ifndef CONCLAVE_MODEL_WEIGHTS_H_
#define CONCLAVE_MODEL_WEIGHTS_H_

// The tensors of a model by role, as views into memory-mapped safetensors. Checked against the spec
// once, at open: every tensor the family needs is there with the right shape and a supported dtype.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "model/model_spec.h"

namespace conclave::model {

// Row-major [rows, cols]; a vector of n has rows == 1, cols == n. Any alignment. data may be
// null in a dummy model (random weights): then `dummy_seed` tells the filler which numbers to make.
struct Tensor {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  uint64_t dummy_seed = 0;
  size_t bytes() const { return static_cast<size_t>(rows * cols) * dtype_bytes(dtype); }
};

struct MlpTensors {  // out = down(silu(gate x) * (up x))
  Tensor gate, up, down;
};

struct LayerTensors {
  Tensor input_norm, post_attention_norm;  // [H]
  Tensor q, k, v, o;                       // weights
  std::optional<Tensor> q_bias, k_bias, v_bias, o_bias, q_norm, k_norm;
  std::optional<MlpTensors> dense;       // layers that are not MoE
  std::optional<Tensor> gate, pre_gate;  // [E, H]
  std::vector<MlpTensors> experts;       // [E]; per-expert or fused files alike
  std::optional<MlpTensors> shared;
  std::optional<Tensor> shared_gate;  // [1, H]
};

// Immutable once opened: any number of threads may read it.
class Weights {
 public:
  // Opens model.safetensors, else model.safetensors.index.json. May refine spec (tied embeddings, the
  // stored dtype, notes; qk_norm of "_ext" families). Errors name file, tensor, expected and found.
  static absl::StatusOr<std::unique_ptr<Weights>> open(const std::string& folder, ModelSpec* spec);
  // A model without files: all tensors of dtype `dtype`, data null, seeds set.
  static std::unique_ptr<Weights> dummy(const ModelSpec& spec, DType dtype, uint64_t seed);
  virtual ~Weights() = default;

  virtual const Tensor& embedding() const = 0;   // [V, H]
  virtual const Tensor& final_norm() const = 0;  // [H]
  virtual const Tensor& lm_head() const = 0;     // [V, H]; the embedding if tied
  virtual const LayerTensors& layer(int32_t index) const = 0;
  virtual uint64_t total_bytes() const = 0;  // of all tensors, tied ones once
  // A stable hash (hex) of config and tensor names, shapes and samples of the data: names the model
  // in tables.
  virtual const std::string& fingerprint() const = 0;
  // Tells the kernel that the tensor's file pages are not needed any more (keeps peak memory low).
  virtual void release(const Tensor& tensor) const = 0;
  // Names of tensors in the files that the family does not use; noted, not an error.
  virtual const std::vector<std::string>& ignored() const = 0;
};

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_WEIGHTS_H_
