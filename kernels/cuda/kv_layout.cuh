#ifndef CONCLAVE_KERNELS_CUDA_KV_LAYOUT_CUH_
#define CONCLAVE_KERNELS_CUDA_KV_LAYOUT_CUH_

// A K/V block: [kv head][K, V][16 tokens][head_dim] in the activation type, so that what one kv
// head needs of a block is one contiguous piece.

#include <cstdint>

namespace conclave::device::cuda {

inline constexpr int32_t kKvTokens = 16;

// First element of a token's vector.
__host__ __device__ inline int64_t kv_offset(int32_t head_dim, int32_t kv_head, bool value,
                                             int32_t token) {
  return (int64_t{kv_head * 2 + (value ? 1 : 0)} * kKvTokens + token) * head_dim;
}

// Element i of a vector under that swizzle.
__host__ __device__ inline int32_t swizzled(int32_t i, int32_t token) {
  return ((i / 8) ^ (token % 8)) * 8 + i % 8;
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_KV_LAYOUT_CUH_
