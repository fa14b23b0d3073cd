#ifndef CONCLAVE_MODEL_TENSOR_SOURCE_H_
#define CONCLAVE_MODEL_TENSOR_SOURCE_H_

// Where a model's tensors come from: weight files, or nowhere (a dummy model). Internal to model/.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint.h"
#include "model/weights.h"

namespace conclave::model {

struct NamedTensor {
  std::string name;
  Tensor tensor;
  std::vector<int64_t> shape;
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // Whether the tensor is stored under this name; names of alternative layouts are asked for first.
  virtual bool has(const std::string& name) const = 0;
  // The tensor, which must exist with this shape. [n] becomes 1 x n, [e, r, c] becomes e * r x c.
  virtual absl::StatusOr<Tensor> take(const std::string& name, std::vector<int64_t> shape) = 0;
  const std::vector<NamedTensor>& taken() const { return taken_; }

 protected:
  Tensor record(const std::string& name, Tensor tensor, std::vector<int64_t> shape);

 private:
  std::vector<NamedTensor> taken_;
};

std::unique_ptr<TensorSource> make_file_source(const Checkpoint* checkpoint);
std::unique_ptr<TensorSource> make_dummy_source(DType dtype, uint64_t seed);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_TENSOR_SOURCE_H_
