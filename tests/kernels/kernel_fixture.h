#ifndef CONCLAVE_TESTS_KERNELS_KERNEL_FIXTURE_H_
#define CONCLAVE_TESTS_KERNELS_KERNEL_FIXTURE_H_

// Seeded inputs, owned matrices and packed weights for kernel tests.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"
#include "kernels/element.h"
#include "kernels/kernel_set.h"
#include "kernels/reference/reference_kernels.h"

namespace conclave::kernels {

inline std::shared_ptr<ThreadPool> make_pool(int threads) {
  return ThreadPool::Create({.threads = threads, .first_core = -1, .spin_us = 5}).value();
}

// host_sets.cc, or device_sets.cc of tests/kernels_cuda.
std::unique_ptr<KernelSet> make_set(const std::string& name, ComputeType compute, int threads = 2);

struct SetCase {
  std::string name;
  ComputeType compute;
};
inline void PrintTo(const SetCase& c, std::ostream* out) {
  *out << c.name << "/" << compute_type_name(c.compute);
}

// Every set under test but the reference.
std::vector<SetCase> tested_cases();
inline std::vector<SetCase> all_cases() {
  std::vector<SetCase> cases = tested_cases();
  cases.push_back({"reference", ComputeType::kF32});
  cases.push_back({"reference", ComputeType::kBF16});
  return cases;
}
inline std::string case_name(const testing::TestParamInfo<SetCase>& info) {
  std::string name = info.param.name + "_" + compute_type_name(info.param.compute);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

// A matrix with a stride larger than its width, poisoned with NaN, so that both an unwritten
// element and a write outside the row are seen.
class TestMatrix {
 public:
  TestMatrix(DType dtype, int64_t rows, int64_t cols, int64_t padding = 3)
      : dtype_(dtype),
        rows_(rows),
        cols_(cols),
        stride_(cols + padding),
        bytes_(static_cast<size_t>(rows * stride_ + 16) * dtype_bytes(dtype), std::byte{0xff}) {}
  MatrixView view() { return {bytes_.data(), dtype_, rows_, cols_, stride_}; }
  ConstMatrixView cview() const { return {bytes_.data(), dtype_, rows_, cols_, stride_}; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  float at(int64_t row, int64_t col) const {
    return load_element(bytes_.data(), dtype_, row * stride_ + col);
  }
  void set(int64_t row, int64_t col, float value) {
    store_element(bytes_.data(), dtype_, row * stride_ + col, value);
  }
  template <typename Random>
  TestMatrix& fill(Random& random, float scale = 1.0f) {
    std::normal_distribution<float> normal(0.0f, scale);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) set(r, c, normal(random));
    }
    return *this;
  }
  std::vector<std::byte> row_bytes(int64_t row) const {
    const auto* begin = bytes_.data() + static_cast<size_t>(row * stride_) * dtype_bytes(dtype_);
    return {begin, begin + static_cast<size_t>(cols_) * dtype_bytes(dtype_)};
  }
  // Bytes between rows must still be poison.
  bool padding_intact() const {
    const size_t e = dtype_bytes(dtype_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (size_t i = static_cast<size_t>(r * stride_ + cols_) * e;
           i < static_cast<size_t>((r + 1) * stride_) * e; ++i) {
        if (bytes_[i] != std::byte{0xff}) return false;
      }
    }
    for (size_t i = static_cast<size_t>(rows_ * stride_) * e; i < bytes_.size(); ++i) {
      if (bytes_[i] != std::byte{0xff}) return false;
    }
    return true;
  }

 private:
  DType dtype_;
  int64_t rows_, cols_, stride_;
  std::vector<std::byte> bytes_;
};

inline double relative_error(const TestMatrix& actual, const TestMatrix& expected) {
  double difference = 0;
  double norm = 0;
  for (int64_t r = 0; r < expected.rows(); ++r) {
    for (int64_t c = 0; c < expected.cols(); ++c) {
      const double e = static_cast<double>(expected.at(r, c));
      const double d = static_cast<double>(actual.at(r, c)) - e;
      difference += d * d;
      norm += e * e;
    }
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

inline double tolerance(ComputeType compute) { return compute == ComputeType::kF32 ? 1e-5 : 4e-3; }

// Unpacked weights as in a file: contiguous rows at an address that is not even 4-byte aligned.
class FileWeights {
 public:
  template <typename Random>
  FileWeights(Random& random, DType dtype, int64_t rows, int64_t cols)
      : dtype_(dtype),
        rows_(rows),
        cols_(cols),
        bytes_(static_cast<size_t>(rows * cols) * dtype_bytes(dtype) + 2) {
    std::normal_distribution<float> normal(0.0f, 1.0f / std::sqrt(static_cast<float>(cols)));
    for (int64_t i = 0; i < rows * cols; ++i) store_element(data(), dtype, i, normal(random));
  }
  WeightRows rows() const { return {bytes_.data() + 2, dtype_, rows_, cols_}; }

 private:
  std::byte* data() { return bytes_.data() + 2; }
  DType dtype_;
  int64_t rows_, cols_;
  std::vector<std::byte> bytes_;
};

// Weights packed by one set, with the memory they live in. Poisoned first: packing must write all
// of it.
class Packed {
 public:
  Packed(const KernelSet& set, std::span<const WeightRows> parts, DType stored) {
    int64_t n = 0;
    for (const WeightRows& part : parts) n += part.rows;
    allocate(set.packed_bytes(n, parts[0].cols, stored));
    matrix = set.pack_matrix(parts, stored, buffer_.data());
  }
  Packed(const KernelSet& set, const WeightRows& gate, const WeightRows& up, DType stored) {
    allocate(set.packed_bytes(2 * gate.rows, gate.cols, stored));
    matrix = set.pack_gate_up(gate, up, stored, buffer_.data());
  }
  PackedMatrix matrix;

 private:
  void allocate(size_t bytes) {
    buffer_ = Buffer::allocate(bytes).value();
    std::memset(buffer_.data(), 0xff, bytes);
  }
  Buffer buffer_;
};

// The same expert for the set under test and for the reference.
struct TestExpert {
  template <typename Random>
  TestExpert(Random& random, const KernelSet& set, DType file, int64_t hidden, int64_t width)
      : TestExpert(set, FileWeights(random, file, width, hidden),
                   FileWeights(random, file, width, hidden),
                   FileWeights(random, file, hidden, width)) {}
  TestExpert(const KernelSet& set, const FileWeights& gate, const FileWeights& up,
             const FileWeights& down)
      : gate_up(set, gate.rows(), up.rows(), set.stored_dtype(gate.rows().dtype)),
        down_part(down.rows()),
        down_matrix(set, std::span(&down_part, 1), set.stored_dtype(down_part.dtype)),
        weights{gate_up.matrix, down_matrix.matrix} {}
  Packed gate_up;
  WeightRows down_part;
  Packed down_matrix;
  ExpertWeights weights;
};

}  // namespace conclave::kernels

#endif  // CONCLAVE_TESTS_KERNELS_KERNEL_FIXTURE_H_
