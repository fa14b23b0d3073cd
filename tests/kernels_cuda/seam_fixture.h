#ifndef CONCLAVE_TESTS_KERNELS_CUDA_SEAM_FIXTURE_H_
#define CONCLAVE_TESTS_KERNELS_CUDA_SEAM_FIXTURE_H_

// A device context with typed copies, for tests of operations as kernels/device_ops.h states them.

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "kernels/device/device.h"
#include "tests/kernels_cuda/device_kernel_set.h"

namespace conclave::device {

class SeamTest : public testing::Test {
 protected:
  // Again: what was made from the device before must be gone.
  void open(ComputeType compute) {
    stream_ = nullptr;
    device_ = Device::create(kernels::loaded_device_library(), 0, compute).value();
    stream_ = std::make_unique<OwnedStream>(device_->make_stream(false).value());
    const Limits limits{.max_rows = 2048,
                        .max_expert_rows = 8192,
                        .hidden = 4096,
                        .max_intermediate = 2048,
                        .vocab = 50000,
                        .max_positions = 8192,
                        .max_head_rows = 64,
                        .max_experts = 256,
                        .max_top_k = 8,
                        .max_heads = 32,
                        .max_head_dim = 128};
    ok(ops().reserve(context(), &limits));
  }
  const DeviceOps& ops() const { return device_->ops(); }
  Context* context() const { return device_->context(); }
  Stream* stream() const { return stream_->get(); }
  void ok(Status status) const {
    const absl::Status result = device_->check(status);
    ASSERT_TRUE(result.ok()) << result;
  }
  void synchronize() const { ok(ops().stream_synchronize(context(), stream())); }
  template <typename T>
  Memory put(const std::vector<T>& data) const {
    Memory memory = device_->alloc(data.size() * sizeof(T), "a test").value();
    ok(ops().copy(context(), stream(), memory.data(), data.data(), data.size() * sizeof(T)));
    synchronize();
    return memory;
  }
  template <typename T>
  Memory poisoned(size_t count) const {
    Memory memory = device_->alloc(count * sizeof(T), "a test").value();
    ok(ops().fill(context(), stream(), memory.data(), 0xff, count * sizeof(T)));
    return memory;
  }
  template <typename T>
  std::vector<T> get(const Memory& memory, size_t count) const {
    std::vector<T> data(count);
    ok(ops().copy(context(), stream(), data.data(), memory.data(), count * sizeof(T)));
    synchronize();
    return data;
  }
  template <typename T>
  static T* as(const Memory& memory) {
    return reinterpret_cast<T*>(memory.data());
  }
  std::vector<bf16> random_bf16(size_t count, float scale) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<bf16> data(count);
    for (bf16& x : data) x = float_to_bf16(normal(random_));
    return data;
  }
  Memory pack(const std::vector<bf16>& weight, int64_t n, int64_t k) const {
    const Memory source = put(weight);
    const size_t bytes = ops().packed_bytes(context(), n, k, kTypeBF16);
    Memory packed = poisoned<std::byte>(bytes);
    const WeightPart part{source.data(), kTypeBF16, n, k};
    ok(ops().pack_matrix(context(), stream(), &part, 1, kTypeBF16, packed.data()));
    synchronize();
    return packed;
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<OwnedStream> stream_;
  std::mt19937 random_{17};
};

}  // namespace conclave::device

#endif  // CONCLAVE_TESTS_KERNELS_CUDA_SEAM_FIXTURE_H_
