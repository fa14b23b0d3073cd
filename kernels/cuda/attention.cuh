#ifndef CONCLAVE_KERNELS_CUDA_ATTENTION_CUH_
#define CONCLAVE_KERNELS_CUDA_ATTENTION_CUH_

// The attention kernels. Which family runs depends on the shape alone, so that a row's bits do not
// depend on the batch (law 1).

#include <cuda_runtime.h>

#include "kernels/cuda/scratch.h"
#include "kernels/device_types.h"

namespace conclave::device::cuda {

struct AttentionCall {
  AttentionShape shape;
  AttentionBatch batch;
  const void* q;  // act [rows, heads * head_dim]
  KvLayer kv;
  void* out;
  const float* qkv = nullptr;      // attention_split_appending: instead of q, as append_kv takes it
  AttentionParameters parameters{};
};

// Any head size and type; a warp per row and head.
cudaError_t attention_any_shape(const AttentionCall& call, int32_t compute_type,
                                cudaStream_t stream);

// bfloat16 with head_dim 64 or 128, on the tensor cores. Chunks with few (row, head) pairs per kv
// head are split over their keys, others tiled over their rows.
__host__ __device__ inline bool attention_on_tensor_cores(const AttentionShape& shape,
                                                          int32_t compute_type) {
  return compute_type == kComputeBF16 && (shape.head_dim == 64 || shape.head_dim == 128);
}
inline constexpr int32_t kSplitRows = 16;  // (row, head) pairs of a chunk that is split over keys
cudaError_t attention_split(const AttentionCall& call, const Scratch& scratch,
                            int32_t multiprocessors, cudaStream_t stream);
// append_kv and attention_split in one, for chunks of one row each whose shape it fits: each block
// makes the queries that it reads; the block with a row's last keys appends them.
bool split_can_append(const AttentionShape& shape, int32_t compute_type, int32_t max_chunk_rows);
cudaError_t attention_split_appending(const AttentionCall& call, const Scratch& scratch,
                                      int32_t multiprocessors, cudaStream_t stream);
cudaError_t attention_tiled(const AttentionCall& call, cudaStream_t stream);
cudaError_t prepare_attention_split();
cudaError_t prepare_attention_tiled();
int64_t attention_split_scratch_bytes(const Limits& limits);

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ATTENTION_CUH_
