#ifndef CONCLAVE_KERNELS_CUDA_PACKED_LAYOUT_CUH_
#define CONCLAVE_KERNELS_CUDA_PACKED_LAYOUT_CUH_

// The one layout of bfloat16 weights, for every row count. A matrix [n, k] becomes panels of 16
// rows; a panel is a contiguous run of 2 KB blocks of 64 k; a block is 16 rows of 128 bytes,
// 16-byte piece c of row r at place c ^ (r % 8): the 128-byte swizzle of the tensor cores. So
//   - any piece of a panel along k is one 1-D bulk copy, without a tensor map;
//   - ldmatrix reads 8 rows without bank conflicts (mma.sync);
//   - blocks stacked in shared memory are a wgmma operand as they are.
// A gate/up panel holds 8 gate rows, then their 8 up rows: the thread that owns accumulator row r
// of the MMA also owns row r + 8, so SwiGLU happens in its registers. Padding (n to 16, k to 64) is
// zero. In float32 compute weights stay row-major in their stored type, gate rows before up rows.

#include <cstdint>

namespace conclave::device::cuda {

inline constexpr int32_t kPanelRows = 16;
inline constexpr int32_t kBlockK = 64;
inline constexpr int32_t kBlockBytes = kPanelRows * kBlockK * 2;

__host__ __device__ inline int64_t panels_of(int64_t n) {
  return (n + kPanelRows - 1) / kPanelRows;
}
__host__ __device__ inline int64_t k_blocks_of(int64_t k) { return (k + kBlockK - 1) / kBlockK; }

// Element index of (row of the packed order, k).
__host__ __device__ inline int64_t packed_index(int64_t k_blocks, int64_t row, int64_t k) {
  const int64_t block = row / kPanelRows * k_blocks + k / kBlockK;
  return block * (kPanelRows * kBlockK) + row % kPanelRows * kBlockK +
         (k % kBlockK / 8 ^ row % 8) * 8 + k % 8;
}
// Byte offset in a block of what lane `lane` holds as register i of the A operand of 16-wide step
// `step` (mma.m16n8k16): rows lane / 4 (+ 8 for odd i), k 2 * (lane % 4) (+ 8 for i >= 2).
__device__ inline int32_t fragment_offset(int32_t lane, int32_t step, int32_t i) {
  return (i % 2 * 8 + lane / 4) * 128 + ((step * 2 + i / 2) ^ lane / 4) * 16 + lane % 4 * 4;
}
// Row in the packed order of gate (or up) row i.
__host__ __device__ inline int64_t gate_up_row(int64_t i, bool up) {
  return i / 8 * kPanelRows + (up ? 8 : 0) + i % 8;
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_PACKED_LAYOUT_CUH_
