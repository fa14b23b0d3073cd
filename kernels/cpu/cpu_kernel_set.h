#ifndef CONCLAVE_KERNELS_CPU_CPU_KERNEL_SET_H_
#define CONCLAVE_KERNELS_CPU_CPU_KERNEL_SET_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cpu/gemm_jobs.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/device/buffer.h"
#include "kernels/device/thread_pool.h"
#include "kernels/kernel_set.h"
#include "kernels/sampling_row.h"

namespace conclave::kernels::cpu {

// Splits each operation into tasks for the pool and runs them with one instruction set's kernels.
// Owns the scratch: calls within the reserved limits allocate nothing; larger matrix products run
// in several passes over the same scratch.
class CpuKernelSet final : public KernelSet {
 public:
  static absl::StatusOr<std::unique_ptr<KernelSet>> Create(const char* name,
                                                           ComputeType compute_type,
                                                           const KernelTable& table,
                                                           std::shared_ptr<ThreadPool> pool);

  std::string_view name() const override { return name_; }
  ComputeType compute_type() const override { return compute_type_; }
  absl::Status supports(const AttentionShape& shape) const override;
  absl::Status supports(const RouterShape& shape) const override;
  DType stored_dtype(DType file_dtype) const override;
  size_t packed_bytes(int64_t n, int64_t k, DType stored) const override;
  PackedMatrix pack_matrix(std::span<const WeightRows> parts, DType stored,
                           std::byte* out) const override;
  PackedMatrix pack_gate_up(const WeightRows& gate, const WeightRows& up, DType stored,
                            std::byte* out) const override;
  void embed(std::span<const int32_t> ids, const ConstMatrixView& table,
             const MatrixView& out) override;
  void embed(std::span<const int32_t> ids, const PackedMatrix& table, const MatrixView& out) override;
  void rms_norm(const ConstMatrixView& x, const float* weight, float eps,
                const MatrixView& out) override;
  void matmul(const ConstMatrixView& x, const PackedMatrix& weight, const float* bias,
              const MatrixView& out) override;
  void append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
                 const AttentionBatch& batch, const MatrixView& qkv, const KvLayerView& kv,
                 const MatrixView& q_out) override;
  size_t kv_block_bytes(const AttentionShape& shape) const override;
  void attention(const AttentionShape& shape, const AttentionBatch& batch, const ConstMatrixView& q,
                 const KvLayerView& kv, const MatrixView& out) override;
  void route(const RouterShape& shape, const ConstMatrixView& logits, std::span<int32_t> ids,
             std::span<float> weights) override;
  void expert_ffn(std::span<const ExpertGroup> groups, const ConstMatrixView& input,
                  const MatrixView& output) override;
  void combine(const CombineInput& input, const MatrixView& out) override;
  void add(const MatrixView& r, const ConstMatrixView& a) override;
  void gather_rows(const ConstMatrixView& x, std::span<const int32_t> rows,
                   const MatrixView& out) override;
  void sample(const MatrixView& logits, std::span<const SamplingRow> rows,
              std::span<SamplingResult> results) override;
  absl::Status reserve(const Limits& limits) override;

 private:
  // Adjacent rows of one sequence, cut into attention tasks.
  struct SequenceRun {
    int64_t first_row = 0;
    int64_t rows = 0;
    int64_t tiles = 0;
    int64_t first_task = 0;
  };

  CpuKernelSet(const char* name, ComputeType compute_type, const KernelTable& table,
               std::shared_ptr<ThreadPool> pool)
      : name_(name), compute_type_(compute_type), table_(table), pool_(std::move(pool)) {}

  // Rows [0, count) in parallel, several per task if a row is little work (in element operations).
  template <typename Body>
  void for_rows(int64_t count, int64_t work_per_row, Body&& body);
  void ensure_scratch(Buffer& buffer, int64_t floats);
  bool plan_expert_pass(std::span<const ExpertGroup> groups, const ConstMatrixView& input,
                        size_t& group, int64_t& row);
  void run_expert_pass(const MatrixView& output);
  int64_t plan_attention(const AttentionShape& shape, const AttentionBatch& batch);
  float* attention_scratch(int thread);

  const char* name_;
  ComputeType compute_type_;
  const KernelTable& table_;
  std::shared_ptr<ThreadPool> pool_;
  Buffer x_scratch_;       // packed rows of matmul and expert_ffn
  Buffer hidden_scratch_;  // silu(gate) * up, packed
  Buffer attention_scratch_;
  std::vector<GemmJob> jobs_;
  std::vector<const ExpertGroup*> job_groups_;  // beside jobs_
  std::vector<int64_t> job_rows_;               // first row of its group, beside jobs_
  std::vector<SequenceRun> runs_;
  std::vector<SamplingScratch> sampling_;  // one per thread
};

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_CPU_KERNEL_SET_H_
