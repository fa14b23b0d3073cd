#ifndef CONCLAVE_KERNELS_CUDA_FEW_PAIRS_CUH_
#define CONCLAVE_KERNELS_CUDA_FEW_PAIRS_CUH_

// The lists of ExpertLists for few (row, expert) pairs by one block: a thread per expert reads all
// ids, which is quicker than a counting sort while they are few.

#include <cstdint>

#include "kernels/device_types.h"

namespace conclave::device::cuda {

// ids [pairs] in shared memory, scratch [32] too; every thread of the block calls, with whole warps.
__device__ inline void group_few_pairs(int32_t experts, int32_t pairs, const int32_t* ids,
                                       const ExpertLists& lists, int32_t* scratch) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto threads = static_cast<int32_t>(blockDim.x);
  int32_t before = 0;  // pairs of the experts of earlier rounds
  for (int32_t base = 0; base < experts; base += threads) {
    const int32_t expert = base + static_cast<int32_t>(threadIdx.x);
    int32_t count = 0;
#pragma unroll 8
    for (int32_t p = 0; p < pairs; ++p) count += ids[p] == expert ? 1 : 0;
    int32_t end = count;
#pragma unroll
    for (int step = 1; step < 32; step <<= 1) {
      const int32_t other = __shfl_up_sync(~0u, end, step);
      if (lane >= step) end += other;
    }
    if (lane == 31) scratch[warp] = end;
    __syncthreads();
    int32_t total = 0, offset = before + end - count;
    for (int32_t w = 0; w < threads / 32; ++w) {
      if (w < warp) offset += scratch[w];
      total += scratch[w];
    }
    if (expert < experts) {
      lists.counts[expert] = count;
      lists.offsets[expert] = offset;
    }
    for (int32_t p = 0; count > 0 && p < pairs; ++p) {
      if (ids[p] == expert) lists.pairs[offset++] = p;
    }
    before += total;
    __syncthreads();
  }
  if (threadIdx.x == 0) lists.offsets[experts] = before;
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_FEW_PAIRS_CUH_
