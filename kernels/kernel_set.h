#ifndef CONCLAVE_KERNELS_KERNEL_SET_H_
#define CONCLAVE_KERNELS_KERNEL_SET_H_

// The table of operations a model step is made of. Reference, Cpu (per instruction set) and Cuda implement it.
//
// Law 1, the contract of every implementation: each output row depends only on its own inputs and on
// weight shapes, never on how many rows share the call, on their order, on the number of threads, on
// where an expert lives, or on chunking. K-reductions run in one order fixed by the weight shape.
//
// Types: "act" is the activation dtype of the set's ComputeType (float32, or bfloat16 for kBF16):
// the dtype of every matmul input, K/V element and exchanged row. Residual, matmul outputs, softmax,
// router logits are float32.
//
// Errors: shapes are validated once by supports(); the operations themselves cannot fail on a
// supported shape. Threads: operations of one KernelSet are called by one thread at a time; inside
// they may use the set's thread pool.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/dtype.h"

namespace conclave::kernels {

// rows x cols elements, row-major; `stride` is the distance between rows in elements.
struct MatrixView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
};
struct ConstMatrixView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  ConstMatrixView() = default;
  ConstMatrixView(const void* d, DType t, int64_t r, int64_t c, int64_t s)
      : data(d), dtype(t), rows(r), cols(c), stride(s) {}
  ConstMatrixView(const MatrixView& m)  // NOLINT: a mutable view is a const view
      : data(m.data), dtype(m.dtype), rows(m.rows), cols(m.cols), stride(m.stride) {}
};

// A weight matrix [n outputs, k inputs] in the private layout of the set that packed it. Does not own memory.
struct PackedMatrix {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t n = 0;
  int64_t k = 0;
};

// One routed (or shared, or dense) expert: out = down(silu(gate(x)) * up(x)).
// gate_up is packed by pack_gate_up (n = 2 * intermediate), down by pack_matrix.
struct ExpertWeights {
  PackedMatrix gate_up;
  PackedMatrix down;
};

enum class QkNorm : uint8_t { kNone, kPerHead, kFullWidth };

struct AttentionShape {
  int32_t heads = 0;
  int32_t kv_heads = 0;  // heads % kv_heads == 0; kv head j serves query heads j*g .. j*g+g-1
  int32_t head_dim = 0;
  int32_t rotary_dim = 0;      // first rotary_dim of head_dim rotate, half layout: pairs (i, i + rotary_dim/2)
  int32_t sliding_window = 0;  // 0: none; else query i sees keys j with i - window < j <= i
  float scale = 0;             // multiplies q.k
  QkNorm qk_norm = QkNorm::kNone;
  float norm_eps = 0;
  float clip = 0;  // 0: none; else q, k, v clamped to [-clip, clip] after the norms, before rope (OLMoE)
};

// Per-layer float32 parameters of the step between projection and attention; null where absent.
struct AttentionParameters {
  const float* q_norm = nullptr;         // [head_dim] or [heads * head_dim]
  const float* k_norm = nullptr;         // [head_dim] or [kv_heads * head_dim]
  const float* inverse_freq = nullptr;   // [rotary_dim / 2], float32
  float attention_factor = 1;            // multiplies cos and sin (YaRN)
};

// K/V of one layer: blocks of kKvBlockTokens tokens, each kv_block_bytes(shape) long, in the set's private layout.
inline constexpr int32_t kKvBlockTokens = 16;
struct KvLayerView {
  std::byte* data = nullptr;  // block b begins at data + b * block_stride_bytes
  int64_t block_stride_bytes = 0;
};

// One row of the batch: where its token sits.
struct AttentionRow {
  int32_t position = 0;     // absolute position in its sequence; keys 0..position are visible (window aside)
  int32_t block_table = 0;  // offset of its sequence's first block id in block_ids
};
struct AttentionBatch {
  std::span<const AttentionRow> rows;    // [T], rows of one sequence are adjacent with ascending positions
  std::span<const int32_t> block_ids;    // concatenated block tables
};

struct RouterShape {
  int32_t experts = 0;
  int32_t top_k = 0;
  bool normalize_top_k = false;  // divide the chosen softmax probabilities by their sum
};

// A group of rows for one expert. in_rows[i] is a row of `input`, the result goes to row out_rows[i] of `output`.
struct ExpertGroup {
  const ExpertWeights* expert = nullptr;
  std::span<const int32_t> in_rows;
  std::span<const int32_t> out_rows;
};

// Where the expert rows of each token lie when they are added up.
struct CombineInput {
  std::span<const ConstMatrixView> sources;  // act rows; [0] local results, others as received
  // [T * k] each, in ascending logical expert id per token (law 1): source index and row in it.
  std::span<const int32_t> source_of;
  std::span<const int32_t> row_of;
  std::span<const float> weights;  // [T * k]
  int32_t top_k = 0;
  // Shared expert, added last; data == nullptr if none. gate: [T] logits, result scaled by sigmoid(gate); null = 1.
  ConstMatrixView shared;
  const float* shared_gate = nullptr;
};

struct SamplingRow;     // kernels/sampling.h
struct SamplingResult;  // kernels/sampling.h

// One part of a matrix to pack: row-major source rows straight from a weight file (any alignment).
struct WeightRows {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
};

class KernelSet {
 public:
  virtual ~KernelSet() = default;
  // "reference", "cpu-baseline", "cpu-avx2", "cpu-avx512", later "cuda-sm90": part of system_fingerprint.
  virtual std::string_view name() const = 0;
  virtual ComputeType compute_type() const = 0;
  DType act_dtype() const { return activation_dtype(compute_type()); }

  // Asked at load time for each shape, so that a step cannot fail for shape reasons.
  virtual absl::Status supports(const AttentionShape& shape) const = 0;
  virtual absl::Status supports(const RouterShape& shape) const = 0;

  // --- weights. Stored dtype: that of the file in kF32 compute, bfloat16 (rounded at load) in kBF16.
  virtual DType stored_dtype(DType file_dtype) const = 0;
  virtual size_t packed_bytes(int64_t n, int64_t k, DType stored) const = 0;
  // Stacks the parts along rows (for example q, k, v) into out[packed_bytes]; 64-byte aligned.
  virtual PackedMatrix pack_matrix(std::span<const WeightRows> parts, DType stored, std::byte* out) const = 0;
  // gate and up: [intermediate, hidden] each; n = 2 * intermediate.
  virtual PackedMatrix pack_gate_up(const WeightRows& gate, const WeightRows& up, DType stored,
                                    std::byte* out) const = 0;

  // --- a step, in the order of use. T rows.
  // out[t] = table[ids[t]] as float32. table: row-major [vocab, H] in its stored dtype, not packed.
  virtual void embed(std::span<const int32_t> ids, const ConstMatrixView& table, const MatrixView& out) = 0;
  // The same from a table packed by pack_matrix: a model with tied embeddings holds the LM head alone.
  virtual void embed(std::span<const int32_t> ids, const PackedMatrix& table, const MatrixView& out) = 0;
  // out = act(weight * x / rms(x)); x float32 [T,H].
  virtual void rms_norm(const ConstMatrixView& x, const float* weight, float eps, const MatrixView& out) = 0;
  // out float32 [T,n] = x act [T,k] * Wt (+ bias float32 [n] if not null).
  virtual void matmul(const ConstMatrixView& x, const PackedMatrix& weight, const float* bias,
                      const MatrixView& out) = 0;
  // qkv float32 [T, (heads + 2 kv_heads) * head_dim], overwritten; norms, clip, rope; q goes to q_out
  // (act [T, heads * head_dim]), k and v are appended to the cache at each row's position.
  virtual void append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
                         const AttentionBatch& batch, const MatrixView& qkv, const KvLayerView& kv,
                         const MatrixView& q_out) = 0;
  virtual size_t kv_block_bytes(const AttentionShape& shape) const = 0;
  // out act [T, heads * head_dim]; causal, paged, grouped-query, optional window.
  virtual void attention(const AttentionShape& shape, const AttentionBatch& batch, const ConstMatrixView& q,
                         const KvLayerView& kv, const MatrixView& out) = 0;
  // logits float32 [T,E] -> softmax over E -> top k (ties: lowest id), written sorted by id ascending.
  virtual void route(const RouterShape& shape, const ConstMatrixView& logits, std::span<int32_t> ids,
                     std::span<float> weights) = 0;
  // Each group's rows through its expert; output act, each row unsummed and unweighted. input act [*,H].
  // Groups write disjoint rows. Allocates nothing: scratch was sized by reserve().
  virtual void expert_ffn(std::span<const ExpertGroup> groups, const ConstMatrixView& input,
                          const MatrixView& output) = 0;
  // out float32 [T,H] = sum over k in the given order, then the shared expert.
  virtual void combine(const CombineInput& input, const MatrixView& out) = 0;
  // r += a, float32 [T,H].
  virtual void add(const MatrixView& r, const ConstMatrixView& a) = 0;
  // out[i] = x[rows[i]] (float32).
  virtual void gather_rows(const ConstMatrixView& x, std::span<const int32_t> rows, const MatrixView& out) = 0;
  // One result per row; logits float32 [n, vocab], modified in place. See kernels/sampling.h.
  virtual void sample(const MatrixView& logits, std::span<const SamplingRow> rows,
                      std::span<SamplingResult> results) = 0;

  // Scratch for up to max_rows rows, max_expert_rows rows through experts and the given widths; call before serving.
  struct Limits {
    int64_t max_rows = 0;
    int64_t max_expert_rows = 0;
    int64_t hidden = 0;
    int64_t max_intermediate = 0;
    int64_t vocab = 0;
    int64_t max_positions = 0;
  };
  virtual absl::Status reserve(const Limits& limits) = 0;
};

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_KERNEL_SET_H_
