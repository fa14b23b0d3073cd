#ifndef CONCLAVE_KERNELS_CUDA_ELEMENT_CUH_
#define CONCLAVE_KERNELS_CUDA_ELEMENT_CUH_

// Element types on the device and sums over a warp or block whose order depends on the block shape
// alone.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/device_types.h"

namespace conclave::device::cuda {

using bf16 = __nv_bfloat16;

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
__device__ inline float to_float(__half x) { return __half2float(x); }

template <typename T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}

// Rounded to T and back.
template <typename T>
__device__ inline float rounded(float x) {
  return to_float(from_float<T>(x));
}

// Two values as one register of an MMA operand.
__device__ inline uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

__device__ inline float load_any(const void* data, int32_t dtype, int64_t index) {
  if (dtype == kTypeF32) return static_cast<const float*>(data)[index];
  if (dtype == kTypeF16) return to_float(static_cast<const __half*>(data)[index]);
  return to_float(static_cast<const bf16*>(data)[index]);
}
__device__ inline void store_any(void* data, int32_t dtype, int64_t index, float value) {
  if (dtype == kTypeF32) {
    static_cast<float*>(data)[index] = value;
  } else if (dtype == kTypeF16) {
    static_cast<__half*>(data)[index] = from_float<__half>(value);
  } else {
    static_cast<bf16*>(data)[index] = from_float<bf16>(value);
  }
}
__host__ __device__ inline int64_t type_bytes(int32_t dtype) { return dtype == kTypeF32 ? 4 : 2; }

__device__ inline int32_t actual_rows(const RowCount& rows) {
  return rows.actual == nullptr ? rows.bound : min(*rows.actual, rows.bound);
}

// All lanes get the sum; the butterfly adds the same pairs in every lane.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  return x;
}

// All threads get the sum. `scratch` [32] is free again after the next __syncthreads().
__device__ inline float block_sum(float x, float* scratch) {
  const int warps = (blockDim.x + 31) / 32;
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  return warp_sum(lane < warps ? scratch[lane] : 0.0f);
}

__device__ inline float silu_times(float gate, float up) {
  return gate / (1.0f + expf(-gate)) * up;
}
// The same with the hardware's exponential and division (2 units in the last place), for results
// that are rounded to bfloat16.
__device__ inline float fast_silu_times(float gate, float up) {
  return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ELEMENT_CUH_
