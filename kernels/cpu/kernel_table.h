#ifndef CONCLAVE_KERNELS_CPU_KERNEL_TABLE_H_
#define CONCLAVE_KERNELS_CPU_KERNEL_TABLE_H_

// The single-threaded inner kernels of one instruction set. CpuKernelSet splits an operation into
// tasks and calls these; everything here is a pure function of its arguments' memory.

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "kernels/kernel_set.h"

namespace conclave::kernels::cpu {

// Weights lie in panels of 32 output rows: [k][32] elements, zero rows at the end (panel_layout.h).
inline constexpr int kPanelRows = 32;
inline constexpr int kMaxTileRows = 14;  // the largest tile_rows of any set
inline constexpr int kMaxTilePanels = 4;
// Attention works on 64 keys (4 blocks) and up to 32 queries of one K/V head at a time.
inline constexpr int kKeyTile = 64;
inline constexpr int kQueryTile = 32;
inline constexpr int kMaxHeadDimension = 512;

// c[p][r][j] = sum over k of panel p's row j times x[k][r]: one chain of multiply-adds in ascending
// k for each element, whatever `rows` and `panels` are (law 1).
struct GemmTile {
  const std::byte* weights = nullptr;  // first panel
  int64_t panel_bytes = 0;
  DType dtype = DType::kF32;
  int64_t k = 0;
  const float* x = nullptr;  // [k][rows]
  int rows = 0;              // 1..tile_rows
  int panels = 0;            // 1..kMaxTilePanels
  float* c = nullptr;        // [panels][rows][32]
};

// Rows of act elements to the float32 tile layout [k][rows] that GemmTile reads.
struct PackRows {
  const void* x = nullptr;
  DType dtype = DType::kF32;
  int64_t stride = 0;
  const int32_t* index = nullptr;  // row numbers; null: 0, 1, 2, ...
  int rows = 0;
  int64_t k = 0;
  float* out = nullptr;
};

// Writes `columns` (1..32) columns of one panel of c to rows of out; adds bias if not null.
struct StoreTile {
  const float* c = nullptr;  // [rows][32]
  int rows = 0;
  int columns = 0;
  const float* bias = nullptr;  // first column's
  void* out = nullptr;          // first column of row 0
  DType dtype = DType::kF32;
  int64_t stride = 0;
  const int32_t* index = nullptr;  // row numbers; null: 0, 1, 2, ...
};

// c holds 16 gate columns and 16 up columns; writes act(silu(gate) * up) as float32 to
// out[column][row].
struct SwigluTile {
  const float* c = nullptr;
  int rows = 0;
  int columns = 0;  // 1..16
  DType act = DType::kF32;
  float* out = nullptr;
};

struct AppendRow {
  const AttentionShape* shape = nullptr;
  const AttentionParameters* parameters = nullptr;
  int32_t position = 0;
  float* qkv = nullptr;
  void* q_out = nullptr;
  std::byte* block = nullptr;  // the K/V block of this position
  DType act = DType::kF32;
  float* scratch = nullptr;  // [kMaxHeadDimension]
};

// Queries of one K/V head of one sequence: query i is head i % group of row i / group.
struct AttentionTile {
  const AttentionShape* shape = nullptr;
  DType act = DType::kF32;
  const KvLayerView* kv = nullptr;
  const int32_t* blocks = nullptr;  // the sequence's block ids
  int32_t kv_head = 0;
  const AttentionRow* rows = nullptr;  // of the sequence's rows in the batch
  const std::byte* q = nullptr;        // row 0 of the same rows
  int64_t q_stride_bytes = 0;
  std::byte* out = nullptr;
  int64_t out_stride_bytes = 0;
  int32_t first_query = 0;
  int32_t queries = 0;       // 1..kQueryTile
  float* scratch = nullptr;  // [attention_scratch_floats]
};

struct CombineRow {
  const CombineInput* input = nullptr;
  int64_t row = 0;
  int64_t begin = 0;  // columns [begin, end)
  int64_t end = 0;
  float* out = nullptr;  // column 0
};

struct KernelTable {
  int tile_rows = 0;      // rows of a full GEMM tile
  int stream_panels = 0;  // panels read side by side when there are few rows
  void (*gemm_tile)(const GemmTile&);
  void (*pack_rows)(const PackRows&);
  void (*store_tile)(const StoreTile&);
  void (*swiglu_tile)(const SwigluTile&);
  void (*norm_row)(const float* x, const float* weight, float eps, int64_t n, void* out,
                   DType dtype);
  void (*append_row)(const AppendRow&);
  void (*attention_tile)(const AttentionTile&);
  void (*route_row)(const RouterShape& shape, const float* logits, int32_t* ids, float* weights);
  void (*combine_row)(const CombineRow&);
  void (*add_row)(float* r, const float* a, int64_t n);
  void (*widen_row)(const void* x, DType dtype, int64_t n, float* out);
  // Independent multiply-add chains held in registers; returns the number of float operations done.
  double (*spin_fma)(int64_t iterations, float* sink);
  // Sums all bytes as float32 lanes; for measuring read bandwidth.
  float (*read_all)(const float* data, int64_t n);
};

// K of one head: [head_dim][16] transposed; V: [16][padded_head_dim]; heads one after the other.
constexpr int64_t padded_head_dim(int32_t head_dim) { return (int64_t{head_dim} + 15) / 16 * 16; }
constexpr int64_t value_offset_bytes(const AttentionShape& shape, DType act) {
  return int64_t{kKvBlockTokens} * shape.head_dim * static_cast<int64_t>(dtype_bytes(act));
}
constexpr int64_t head_bytes(const AttentionShape& shape, DType act) {
  const int64_t bytes = value_offset_bytes(shape, act) + int64_t{kKvBlockTokens} *
                                                             padded_head_dim(shape.head_dim) *
                                                             static_cast<int64_t>(dtype_bytes(act));
  return (bytes + 63) / 64 * 64;
}
// Per query: q and the output accumulator, 64 scores, 16 partial sums of the denominator.
constexpr int64_t attention_scratch_floats(int64_t padded_dim) {
  return kQueryTile * (2 * padded_dim + kKeyTile + 16);
}

const KernelTable& baseline_table();
const KernelTable& avx2_table();
const KernelTable& avx512_table();

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_KERNEL_TABLE_H_
