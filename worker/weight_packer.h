#ifndef CONCLAVE_WORKER_WEIGHT_PACKER_H_
#define CONCLAVE_WORKER_WEIGHT_PACKER_H_

// Turns tensors of a model file (or of a dummy model) into what the kernels read, one at a time, and
// gives the file's pages back after each, so that loading needs little more memory than the result.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/kernel_set.h"
#include "model/weights.h"

namespace conclave::worker {

class WeightPacker {
 public:
  // Called after each tensor with the file bytes done so far; an error stops the caller at its next check().
  using Progress = std::function<absl::Status(uint64_t bytes_done)>;

  // Both outlive the packer.
  WeightPacker(const kernels::KernelSet* kernels, const model::Weights* weights)
      : kernels_(kernels), weights_(weights) {}
  void set_progress(Progress progress) { progress_ = std::move(progress); }
  // Gives up what only loading needs; a later call makes it anew.
  void release_scratch() { dummy_streams_ = {}; }
  // The first error that the progress callback returned.
  const absl::Status& check() const { return progress_status_; }

  // The parts (q, k, v for example) stacked along rows. Parts of different types are stored as float32
  // (in bf16 compute: as bfloat16, like all).
  size_t matrix_bytes(std::span<const model::Tensor* const> parts) const;
  kernels::PackedMatrix pack_matrix(std::span<const model::Tensor* const> parts, std::byte* out);

  size_t expert_bytes(const model::MlpTensors& tensors) const;
  kernels::ExpertWeights pack_expert(const model::MlpTensors& tensors, std::byte* out);

  // Vectors of all parts one after another as float32. A missing part is filled with zeros. Dummy
  // vectors are `dummy_value` throughout: ones for norms, zeros for biases.
  struct VectorPart {
    const model::Tensor* tensor = nullptr;  // null: zeros
    int64_t count = 0;
  };
  void copy_vector(std::span<const VectorPart> parts, float dummy_value, float* out);

  // A table that is read row by row: row-major in its stored type.
  size_t table_bytes(const model::Tensor& tensor) const;
  kernels::ConstMatrixView copy_table(const model::Tensor& tensor, std::byte* out);

 private:
  DType stored_dtype(std::span<const model::Tensor* const> parts) const;
  // Random numbers for dummy tensors of one type and width. Every tensor is a window of the same stream,
  // shifted by its seed: making 10 GB of fresh numbers would take longer than packing them.
  struct DummyStream {
    DType dtype = DType::kF32;
    int64_t cols = 0;
    std::vector<std::byte> values;
  };
  kernels::PackedMatrix pack_slices(const model::Tensor& tensor, std::byte* out);
  // Returns the end of what it wrote.
  std::byte* copy_slice(const model::Tensor& slice, DType stored, std::byte* out);
  const std::byte* dummy_window(const model::Tensor& tensor, int64_t rows);
  // Source rows of a tensor. Large dummy matrices repeat one chunk of rows where `repeat` allows it, so
  // that making them needs little memory.
  void append_rows(const model::Tensor& tensor, bool repeat, std::vector<kernels::WeightRows>* rows);
  void finish(const model::Tensor& tensor);

  const kernels::KernelSet* kernels_;
  const model::Weights* weights_;
  Progress progress_;
  absl::Status progress_status_;
  uint64_t bytes_done_ = 0;
  std::vector<DummyStream> dummy_streams_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_WEIGHT_PACKER_H_
