#ifndef CONCLAVE_TESTS_WORKER_OBSERVED_KERNELS_H_
#define CONCLAVE_TESTS_WORKER_OBSERVED_KERNELS_H_

#include <functional>
#include <memory>
#include <utility>

#include "kernels/kernel_set.h"
#include "kernels/sampling.h"

namespace conclave::worker {

// Passes every operation on, and tells the test about each call of the expert kernel.
class ObservedKernels final : public kernels::KernelSet {
 public:
  using ExpertCall = std::function<void(std::span<const kernels::ExpertGroup>)>;
  ObservedKernels(std::unique_ptr<kernels::KernelSet> inner, ExpertCall on_experts)
      : inner_(std::move(inner)), on_experts_(std::move(on_experts)) {}

  std::string_view name() const override { return inner_->name(); }
  ComputeType compute_type() const override { return inner_->compute_type(); }
  absl::Status supports(const kernels::AttentionShape& s) const override { return inner_->supports(s); }
  absl::Status supports(const kernels::RouterShape& s) const override { return inner_->supports(s); }
  DType stored_dtype(DType file) const override { return inner_->stored_dtype(file); }
  size_t packed_bytes(int64_t n, int64_t k, DType stored) const override {
    return inner_->packed_bytes(n, k, stored);
  }
  kernels::PackedMatrix pack_matrix(std::span<const kernels::WeightRows> parts, DType stored,
                                    std::byte* out) const override {
    return inner_->pack_matrix(parts, stored, out);
  }
  kernels::PackedMatrix pack_gate_up(const kernels::WeightRows& gate, const kernels::WeightRows& up,
                                     DType stored, std::byte* out) const override {
    return inner_->pack_gate_up(gate, up, stored, out);
  }
  void embed(std::span<const int32_t> ids, const kernels::ConstMatrixView& table,
             const kernels::MatrixView& out) override {
    inner_->embed(ids, table, out);
  }
  void embed(std::span<const int32_t> ids, const kernels::PackedMatrix& table,
             const kernels::MatrixView& out) override {
    inner_->embed(ids, table, out);
  }
  void rms_norm(const kernels::ConstMatrixView& x, const float* weight, float eps,
                const kernels::MatrixView& out) override {
    inner_->rms_norm(x, weight, eps, out);
  }
  void matmul(const kernels::ConstMatrixView& x, const kernels::PackedMatrix& weight,
              const float* bias, const kernels::MatrixView& out) override {
    inner_->matmul(x, weight, bias, out);
  }
  void append_kv(const kernels::AttentionShape& shape, const kernels::AttentionParameters& parameters,
                 const kernels::AttentionBatch& batch, const kernels::MatrixView& qkv,
                 const kernels::KvLayerView& kv, const kernels::MatrixView& q_out) override {
    inner_->append_kv(shape, parameters, batch, qkv, kv, q_out);
  }
  size_t kv_block_bytes(const kernels::AttentionShape& shape) const override {
    return inner_->kv_block_bytes(shape);
  }
  void attention(const kernels::AttentionShape& shape, const kernels::AttentionBatch& batch,
                 const kernels::ConstMatrixView& q, const kernels::KvLayerView& kv,
                 const kernels::MatrixView& out) override {
    inner_->attention(shape, batch, q, kv, out);
  }
  void route(const kernels::RouterShape& shape, const kernels::ConstMatrixView& logits,
             std::span<int32_t> ids, std::span<float> weights) override {
    inner_->route(shape, logits, ids, weights);
  }
  void expert_ffn(std::span<const kernels::ExpertGroup> groups, const kernels::ConstMatrixView& input,
                  const kernels::MatrixView& output) override {
    on_experts_(groups);
    inner_->expert_ffn(groups, input, output);
  }
  void combine(const kernels::CombineInput& input, const kernels::MatrixView& out) override {
    inner_->combine(input, out);
  }
  void add(const kernels::MatrixView& r, const kernels::ConstMatrixView& a) override {
    inner_->add(r, a);
  }
  void gather_rows(const kernels::ConstMatrixView& x, std::span<const int32_t> rows,
                   const kernels::MatrixView& out) override {
    inner_->gather_rows(x, rows, out);
  }
  void sample(const kernels::MatrixView& logits, std::span<const kernels::SamplingRow> rows,
              std::span<kernels::SamplingResult> results) override {
    inner_->sample(logits, rows, results);
  }
  absl::Status reserve(const Limits& limits) override { return inner_->reserve(limits); }

 private:
  std::unique_ptr<kernels::KernelSet> inner_;
  ExpertCall on_experts_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_TESTS_WORKER_OBSERVED_KERNELS_H_
