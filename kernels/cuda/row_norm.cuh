#ifndef CONCLAVE_KERNELS_CUDA_ROW_NORM_CUH_
#define CONCLAVE_KERNELS_CUDA_ROW_NORM_CUH_

// RMS norm of a row by a block of kRowThreads. A row of up to kRowThreads * kKept elements is read
// once and kept in registers; what is beyond is read again. Thread i owns elements i, i +
// kRowThreads, …, whatever the row count: every kernel that norms must keep to that, for its bits.

#include <cstdint>

#include "kernels/cuda/element.cuh"

namespace conclave::device::cuda {

inline constexpr int kRowThreads = 256;

// This thread's part of the sum of squares of what it keeps.
template <int kKept>
__device__ inline float squares_of(const float (&kept)[kKept]) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kKept; ++i) sum = fmaf(kept[i], kept[i], sum);
  return sum;
}

__device__ inline float norm_scale(float square_sum, int64_t hidden, float eps) {
  const float mean = square_sum / static_cast<float>(hidden);
  return 1.0f / sqrtf(mean + eps);
}

// out = norm * weight of the kept elements, whose squares add up to `sum` in this thread, and of
// those beyond, read from `again`.
template <int kKept, typename T>
__device__ void norm_kept(int64_t hidden, const float* weight, float eps, T* out, float* scratch,
                          const float* again, const float (&kept)[kKept], float sum) {
  float factors[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int64_t at = threadIdx.x + i * kRowThreads;
    factors[i] = at < hidden ? weight[at] : 0.0f;
  }
  const float scale = norm_scale(block_sum(sum, scratch), hidden, eps);
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int64_t at = threadIdx.x + i * kRowThreads;
    if (at < hidden) out[at] = from_float<T>(factors[i] * (kept[i] * scale));
  }
  for (int64_t i = threadIdx.x + kKept * kRowThreads; i < hidden; i += kRowThreads) {
    out[i] = from_float<T>(weight[i] * (again[i] * scale));
  }
}

// out = norm(x) * weight, where element(i) gives the elements, once each. out null: elements only.
template <int kKept, typename T, typename Element>
__device__ void norm_row(int64_t hidden, const float* weight, float eps, T* out, float* scratch,
                         const float* again, Element element) {
  float kept[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int64_t at = threadIdx.x + i * kRowThreads;
    kept[i] = at < hidden ? element(at) : 0.0f;
  }
  float sum = squares_of(kept);
  for (int64_t i = threadIdx.x + kKept * kRowThreads; i < hidden; i += kRowThreads) {
    const float x = element(i);
    sum = fmaf(x, x, sum);
  }
  if (out != nullptr) norm_kept(hidden, weight, eps, out, scratch, again, kept, sum);
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ROW_NORM_CUH_
