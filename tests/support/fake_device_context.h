#ifndef CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_CONTEXT_H_
#define CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_CONTEXT_H_

// What the parts of the fake device share: its context, and the seam's structs as the host kernels
// take them.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device_ops.h"
#include "kernels/kernel_set.h"

namespace conclave::device {

struct Stream {};
struct Event {
  int64_t after = 0;  // calls that were enqueued before it
};
struct Graph {
  std::vector<std::function<void()>> calls;
};

struct Context {
  std::unique_ptr<kernels::KernelSet> kernels;
  std::string message;
  Graph* capturing = nullptr;
  bool failed = false;  // a collective broke in work that was enqueued
  // As a real device works: calls run when somebody waits for what was enqueued after them. For one
  // thread, after loading.
  bool deferred = false;
  std::deque<std::function<void()>> waiting;
  int64_t enqueued = 0, ran = 0;
  int64_t events = 0;       // recorded so far
  int64_t hold_events = 0;  // no event is done before so many were recorded

  DType act() const { return kernels->act_dtype(); }
  size_t act_bytes() const { return dtype_bytes(act()); }
  Status fail(Status status, std::string text) {
    message = std::move(text);
    return status;
  }
  // What a stream does with a call.
  template <typename Call>
  Status enqueue(Call call) {
    if (capturing != nullptr) {
      capturing->calls.emplace_back(std::move(call));
    } else if (deferred) {
      waiting.emplace_back(std::move(call));
      ++enqueued;
    } else {
      call();
    }
    return kOk;
  }
  void run_until(int64_t calls) {
    while (ran < calls) {
      waiting.front()();
      waiting.pop_front();
      ++ran;
    }
  }
};

namespace fake {

using kernels::ConstMatrixView;
using kernels::MatrixView;

inline int32_t actual_of(RowCount rows) {
  return rows.actual != nullptr ? std::min(*rows.actual, rows.bound) : rows.bound;
}
inline MatrixView f32(float* data, int64_t rows, int64_t cols) {
  return {data, DType::kF32, rows, cols, cols};
}
inline MatrixView view(void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}
inline ConstMatrixView view(const void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}
inline kernels::PackedMatrix packed(const PackedMatrix& m) {
  return {static_cast<const std::byte*>(m.data), static_cast<DType>(m.dtype), m.n, m.k};
}
inline kernels::ExpertWeights expert_weights(const ExpertShape& shape, const ExpertSlot& slot) {
  const auto dtype = static_cast<DType>(shape.dtype);
  return {
      {static_cast<const std::byte*>(slot.gate_up), dtype, 2 * shape.intermediate, shape.hidden},
      {static_cast<const std::byte*>(slot.down), dtype, shape.hidden, shape.intermediate}};
}
inline kernels::AttentionShape attention_shape(const AttentionShape& s) {
  return {s.heads,
          s.kv_heads,
          s.head_dim,
          s.rotary_dim,
          s.sliding_window,
          s.scale,
          static_cast<kernels::QkNorm>(s.qk_norm),
          s.norm_eps,
          s.clip};
}
inline kernels::RouterShape router_shape(const RouterShape& s) {
  return {s.experts, s.top_k, s.normalize_top_k != 0};
}

// Each part's functions of the table.
void add_memory(DeviceOps* table);
void add_weights(DeviceOps* table);
void add_rows(DeviceOps* table);
void add_experts(DeviceOps* table);
void add_sampler(DeviceOps* table);

}  // namespace fake
}  // namespace conclave::device

#endif  // CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_CONTEXT_H_
