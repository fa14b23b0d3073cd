#ifndef CONCLAVE_KERNELS_CUDA_ROUTER_SEGMENT_CUH_
#define CONCLAVE_KERNELS_CUDA_ROUTER_SEGMENT_CUH_

// A piece of the router's product: 16 experts times 8 rows over one of the segments that k is cut
// into (router.cuh).

#include <cstdint>

#include "kernels/cuda/packed_layout.cuh"
#include "kernels/cuda/ptx.cuh"

namespace conclave::device::cuda {

inline constexpr int kRouterSegments = 8;

// Two neighbouring activations, zero beyond k.
__device__ inline uint32_t load_two(const uint16_t* x, int32_t first, int32_t k) {
  if (k % 2 == 0) return first < k ? *reinterpret_cast<const uint32_t*>(x + first) : 0;
  const uint32_t low = first < k ? x[first] : 0;
  const uint32_t high = first + 1 < k ? x[first + 1] : 0;
  return low | high << 16;
}

// The segments of a warp over at most kBlocks * kRouterSegments blocks of k, its part of the panel
// kept in registers, so that it can be read before the rows are there.
template <int kBlocks>
struct SegmentWeights {
  uint32_t a[kBlocks][4][4];

  __device__ static int32_t size(int32_t k_size) {
    return (static_cast<int32_t>(k_blocks_of(k_size)) + kRouterSegments - 1) / kRouterSegments;
  }
  __device__ void load(int32_t k_size, const char* panel, int32_t segment) {
    const int32_t lane = threadIdx.x % 32;
    const auto k_blocks = static_cast<int32_t>(k_blocks_of(k_size));
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      const int32_t block = segment * size(k_size) + i;
      if (i >= size(k_size) || block >= k_blocks) break;
#pragma unroll
      for (int step = 0; step < 4; ++step) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
          a[i][step][part] = *reinterpret_cast<const uint32_t*>(panel + block * kBlockBytes +
                                                                fragment_offset(lane, step, part));
        }
      }
    }
  }
  // The same chain as segment_sum.
  __device__ void sum(int32_t k_size, const uint16_t* row, int32_t segment, float (&c)[4]) const {
    const int32_t lane = threadIdx.x % 32;
    const auto k_blocks = static_cast<int32_t>(k_blocks_of(k_size));
#pragma unroll
    for (int i = 0; i < kBlocks; ++i) {
      const int32_t block = segment * size(k_size) + i;
      if (i >= size(k_size) || block >= k_blocks) break;
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const int32_t k = block * kBlockK + step * 16 + lane % 4 * 2;
        mma_16x8x16(c, a[i][step], load_two(row, k, k_size), load_two(row, k + 8, k_size));
      }
    }
  }
};

// One segment of a panel of 16 experts times 8 rows.
__device__ inline void segment_sum(int32_t k_size, const char* panel, const uint16_t* row,
                                   int32_t segment, float (&c)[4]) {
  const int32_t lane = threadIdx.x % 32;
  const int32_t k_blocks = static_cast<int32_t>(k_blocks_of(k_size));
  const int32_t size = (k_blocks + kRouterSegments - 1) / kRouterSegments;
  const int32_t end = min(k_blocks, (segment + 1) * size);
#pragma unroll 4
  for (int32_t block = segment * size; block < end; ++block) {
    uint32_t a[4][4], b[4][2];
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[step][i] = *reinterpret_cast<const uint32_t*>(panel + block * kBlockBytes +
                                                        fragment_offset(lane, step, i));
      }
      const int32_t k = block * kBlockK + step * 16 + lane % 4 * 2;
      b[step][0] = load_two(row, k, k_size);
      b[step][1] = load_two(row, k + 8, k_size);
    }
#pragma unroll
    for (int step = 0; step < 4; ++step) mma_16x8x16(c, a[step], b[step][0], b[step][1]);
  }
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ROUTER_SEGMENT_CUH_
