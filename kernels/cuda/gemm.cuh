#ifndef CONCLAVE_KERNELS_CUDA_GEMM_CUH_
#define CONCLAVE_KERNELS_CUDA_GEMM_CUH_

// The one problem that all matrix kernels solve: groups of rows (one per expert, or a single
// group), each group times its own weight matrix, with one of three ways to write the result.
//
// Law 1: an output element is one chain of 16-wide MMA steps (bf16) or of fused multiply-adds
// (float32) over ascending k, starting at zero, whatever the kernel, tile or row count. Of a bfloat16
// matrix with a float32 result and more than kSegmentK of k, a multiple of 128, it is two chains, of half of k each, added
// in order: a chain's length is what bounds a product of one row.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/tuning.h"
#include "kernels/device_types.h"

namespace conclave::device::cuda {

enum class Epilogue {
  kFloat,   // out float32 [place, n] = sum + bias (+ what is there)
  kSwiglu,  // out act [place, n / 2] = silu(gate) * up
  kPairs,   // out act [pairs[place], n]
};

// Places: rows in group order; place s holds pair pairs[s] (or s when pairs is null).
struct Gemm {
  const int32_t* counts;   // device [groups]; null: one group of all rows
  const int32_t* offsets;  // device [groups]
  const int32_t* pairs;    // device [places]
  int32_t groups;
  RowCount rows;            // of the call; places = rows * top_k
  int32_t top_k;            // pair p belongs to row p / top_k
  bool gather;              // x row of a place: its pair's row; else the place itself
  const ExpertSlot* slots;  // device [groups]; null: `weight`
  bool down;                // which matrix of a slot
  bool lists_final;  // the groups were complete before the preceding kernel of the stream began
  const void* weight;
  int32_t dtype;  // of the weights; float32 compute only
  int32_t n, k;
  int32_t whole_k;   // row stride of x, and k of the packed weight; above k where this is one segment
  int32_t segments;  // that k is cut into here: 1 or 2
  const void* x;    // act
  void* out;
  const float* bias;
  int32_t accumulate;
};

inline constexpr int32_t kSegmentK = 2048;

// float32 activations, any weight type.
cudaError_t gemm_float32(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream);
// bfloat16, any shape.
cudaError_t gemm_any_shape(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream);
// bfloat16, k a multiple of 64: weights streamed once; for few rows per group.
cudaError_t gemm_streaming(const Gemm& gemm, Epilogue epilogue, const Machine& machine,
                           cudaStream_t stream);
// The same with a float32 result for two segments at once, where it can: few rows.
bool can_stream_segments(const Gemm& gemm, const Machine& machine);
cudaError_t gemm_streaming_segments(const Gemm& gemm, cudaStream_t stream);
cudaError_t prepare_gemm_streaming();
// bfloat16, k a multiple of 64: wgmma tiles; for many rows per group.
cudaError_t gemm_tiled(const Gemm& gemm, Epilogue epilogue, const Machine& machine,
                       cudaStream_t stream);
cudaError_t prepare_gemm_tiled();

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_GEMM_CUH_
