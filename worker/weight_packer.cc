#include "worker/weight_packer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "worker/dummy_values.h"
#include "worker/host_region.h"

namespace conclave::worker {
namespace {

constexpr size_t kDummyChunkBytes = size_t{16} << 20;
constexpr size_t kDummyShifts = size_t{1} << 18;
// What is packed and not yet released is in memory twice, so large tensors are packed a range of rows at a time. Ranges of
// whole panels of every kernel set: packed one after the other they are the matrix packed at once.
constexpr size_t kSliceBytes = size_t{8} << 20;
constexpr int64_t kSliceRows = 64;

std::vector<model::Tensor> slices_of(const model::Tensor& tensor) {
  std::vector<model::Tensor> slices{tensor};
  if (tensor.data == nullptr || tensor.bytes() <= kSliceBytes) return slices;
  slices.clear();
  const size_t row_bytes = tensor.bytes() / static_cast<size_t>(tensor.rows);
  const int64_t rows = (static_cast<int64_t>(kSliceBytes / row_bytes) / kSliceRows + 1) * kSliceRows;
  for (int64_t first = 0; first < tensor.rows; first += rows) {
    model::Tensor& slice = slices.emplace_back(tensor);
    slice.data += static_cast<size_t>(first) * row_bytes;
    slice.rows = std::min(rows, tensor.rows - first);
  }
  return slices;
}

float read_element(const std::byte* data, DType dtype, size_t index) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, 2);
  return dtype == DType::kBF16 ? bf16_to_float(bf16{bits}) : f16_to_float(bits);
}

void write_element(float value, DType dtype, std::byte* out, size_t index) {
  if (dtype == DType::kF32) {
    std::memcpy(out + index * 4, &value, 4);
  } else {
    const uint16_t bits = float_to_bf16(value).bits;
    std::memcpy(out + index * 2, &bits, 2);
  }
}

}  // namespace

DType WeightPacker::stored_dtype(std::span<const model::Tensor* const> parts) const {
  DType source = parts[0]->dtype;
  for (const model::Tensor* part : parts) {
    if (part->dtype != source) source = DType::kF32;
  }
  return kernels_->stored_dtype(source);
}

size_t WeightPacker::matrix_bytes(std::span<const model::Tensor* const> parts) const {
  int64_t rows = 0;
  for (const model::Tensor* part : parts) rows += part->rows;
  return kernels_->packed_bytes(rows, parts[0]->cols, stored_dtype(parts));
}

kernels::PackedMatrix WeightPacker::pack_matrix(std::span<const model::Tensor* const> parts,
                                                std::byte* out) {
  if (parts.size() == 1) return pack_slices(*parts[0], out);
  std::vector<kernels::WeightRows> rows;
  for (const model::Tensor* part : parts) append_rows(*part, /*repeat=*/true, &rows);
  const kernels::PackedMatrix packed = kernels_->pack_matrix(rows, stored_dtype(parts), out);
  for (const model::Tensor* part : parts) finish(*part);
  return packed;
}

kernels::PackedMatrix WeightPacker::pack_slices(const model::Tensor& tensor, std::byte* out) {
  const DType stored = kernels_->stored_dtype(tensor.dtype);
  kernels::PackedMatrix packed{out, stored, 0, tensor.cols};
  for (const model::Tensor& slice : slices_of(tensor)) {
    std::vector<kernels::WeightRows> rows;
    append_rows(slice, /*repeat=*/true, &rows);
    kernels_->pack_matrix(rows, stored, out + kernels_->packed_bytes(packed.n, tensor.cols, stored));
    packed.n += slice.rows;
    finish(slice);
  }
  return packed;
}

size_t WeightPacker::expert_bytes(const model::MlpTensors& tensors) const {
  const model::Tensor* gate_up[] = {&tensors.gate, &tensors.up};
  const model::Tensor* down[] = {&tensors.down};
  return align_region(matrix_bytes(gate_up)) + align_region(matrix_bytes(down));
}

kernels::ExpertWeights WeightPacker::pack_expert(const model::MlpTensors& tensors, std::byte* out) {
  const model::Tensor* gate_up[] = {&tensors.gate, &tensors.up};
  const model::Tensor* down[] = {&tensors.down};
  std::vector<kernels::WeightRows> rows;
  append_rows(tensors.gate, /*repeat=*/false, &rows);
  append_rows(tensors.up, /*repeat=*/false, &rows);
  kernels::ExpertWeights expert;
  expert.gate_up = kernels_->pack_gate_up(rows[0], rows[1], stored_dtype(gate_up), out);
  finish(tensors.gate);
  finish(tensors.up);
  expert.down = pack_matrix(down, out + align_region(matrix_bytes(gate_up)));
  return expert;
}

void WeightPacker::copy_vector(std::span<const VectorPart> parts, float dummy_value, float* out) {
  for (const VectorPart& part : parts) {
    for (int64_t i = 0; i < part.count; ++i) {
      if (part.tensor == nullptr) {
        out[i] = 0;
      } else if (part.tensor->data == nullptr) {
        out[i] = dummy_value;
      } else {
        out[i] = read_element(part.tensor->data, part.tensor->dtype, static_cast<size_t>(i));
      }
    }
    out += part.count;
    if (part.tensor != nullptr) finish(*part.tensor);
  }
}

size_t WeightPacker::table_bytes(const model::Tensor& tensor) const {
  return static_cast<size_t>(tensor.rows * tensor.cols) *
         dtype_bytes(kernels_->stored_dtype(tensor.dtype));
}

kernels::ConstMatrixView WeightPacker::copy_table(const model::Tensor& tensor, std::byte* out) {
  const DType stored = kernels_->stored_dtype(tensor.dtype);
  const auto count = static_cast<size_t>(tensor.rows * tensor.cols);
  if (tensor.data == nullptr) {
    fill_dummy_values(tensor.dummy_seed, dummy_bound(1), stored, count, out);
    finish(tensor);
  } else {
    std::byte* to = out;
    for (const model::Tensor& slice : slices_of(tensor)) to = copy_slice(slice, stored, to);
  }
  return kernels::ConstMatrixView(out, stored, tensor.rows, tensor.cols, tensor.cols);
}

std::byte* WeightPacker::copy_slice(const model::Tensor& slice, DType stored, std::byte* out) {
  const auto count = static_cast<size_t>(slice.rows * slice.cols);
  if (stored == slice.dtype) {
    std::memcpy(out, slice.data, slice.bytes());
  } else {
    for (size_t i = 0; i < count; ++i) {
      write_element(read_element(slice.data, slice.dtype, i), stored, out, i);
    }
  }
  finish(slice);
  return out + count * dtype_bytes(stored);
}

const std::byte* WeightPacker::dummy_window(const model::Tensor& tensor, int64_t rows) {
  const size_t element_bytes = dtype_bytes(tensor.dtype);
  const auto count = static_cast<size_t>(rows * tensor.cols) + kDummyShifts;
  const auto serves = [&](const DummyStream& stream) {
    return stream.dtype == tensor.dtype && stream.cols == tensor.cols &&
           stream.values.size() >= count * element_bytes;
  };
  auto stream = std::find_if(dummy_streams_.begin(), dummy_streams_.end(), serves);
  if (stream == dummy_streams_.end()) {
    // A smaller one of the same kind stays: parts of the same matrix may point into it.
    DummyStream made{tensor.dtype, tensor.cols, std::vector<std::byte>(count * element_bytes)};
    fill_dummy_values(static_cast<uint64_t>(tensor.cols), dummy_bound(tensor.cols), tensor.dtype, count,
                      made.values.data());
    stream = dummy_streams_.insert(dummy_streams_.end(), std::move(made));
  }
  return stream->values.data() + dummy_shift(tensor.dummy_seed, kDummyShifts) * element_bytes;
}

void WeightPacker::append_rows(const model::Tensor& tensor, bool repeat,
                               std::vector<kernels::WeightRows>* rows) {
  if (tensor.data != nullptr) {
    rows->push_back({tensor.data, tensor.dtype, tensor.rows, tensor.cols});
    return;
  }
  int64_t chunk_rows = tensor.rows;
  if (repeat) {
    const auto row_bytes = static_cast<int64_t>(tensor.cols * dtype_bytes(tensor.dtype));
    chunk_rows = std::clamp<int64_t>(kDummyChunkBytes / row_bytes, 1, tensor.rows);
  }
  const std::byte* chunk = dummy_window(tensor, chunk_rows);
  for (int64_t row = 0; row < tensor.rows; row += chunk_rows) {
    rows->push_back({chunk, tensor.dtype, std::min(chunk_rows, tensor.rows - row), tensor.cols});
  }
}

void WeightPacker::finish(const model::Tensor& tensor) {
  if (tensor.data != nullptr) weights_->release(tensor);
  bytes_done_ += tensor.bytes();
  if (progress_ == nullptr || !progress_status_.ok()) return;
  progress_status_ = progress_(bytes_done_);
}

}  // namespace conclave::worker
