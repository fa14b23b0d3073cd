// The router's matrix product in bfloat16 (router.cuh).

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed_layout.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/router.cuh"
#include "kernels/cuda/router_segment.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kSegments = kRouterSegments;
constexpr int kWarps = 8;

struct Router {
  RowCount rows;
  const uint16_t* x;
  const char* gate;
  int32_t experts, k;
  float* logits;
};

// Few rows: a block per panel and 8 rows, a warp per segment.
__global__ void __launch_bounds__(kWarps * 32) few_rows_kernel(Router router) {
  __shared__ float parts[kSegments][128];
  wait_for_predecessor();
  const int32_t count = actual_rows(router.rows), first = blockIdx.y * 8;
  if (first >= count) return;
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t panel_bytes = k_blocks_of(router.k) * kBlockBytes;
  const uint16_t* row_data = router.x + int64_t{min(first + lane / 4, count - 1)} * router.k;
  float c[4] = {};
  segment_sum(router.k, router.gate + blockIdx.x * panel_bytes, row_data, warp, c);
#pragma unroll
  for (int i = 0; i < 4; ++i) parts[warp][lane * 4 + i] = c[i];
  __syncthreads();
  if (threadIdx.x >= 128) return;
  float sum = 0;
#pragma unroll
  for (int s = 0; s < kSegments; ++s) sum += parts[s][threadIdx.x];
  const int32_t owner = threadIdx.x / 4, part = threadIdx.x % 4;
  const int32_t row = first + owner % 4 * 2 + part % 2;
  const int32_t expert = blockIdx.x * kPanelRows + owner / 4 + part / 2 * 8;
  if (row < count && expert < router.experts) {
    router.logits[int64_t{row} * router.experts + expert] = sum;
  }
}

// Many rows, k a multiple of 64: a block per 32 rows, a warp per panel, which walks the segments
// itself; the rows of one 64-k block at a time in shared memory.
__global__ void __launch_bounds__(kWarps * 32) many_rows_kernel(Router router) {
  constexpr int kTiles = 4;
  constexpr int kPitch = kBlockK * 2 + 16;
  __shared__ __align__(16) char tile[2][kTiles * 8 * kPitch];
  wait_for_predecessor();
  const int32_t count = actual_rows(router.rows), first = blockIdx.x * kTiles * 8;
  if (first >= count) return;
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t k_blocks = router.k / kBlockK;
  const int32_t size = (k_blocks + kSegments - 1) / kSegments;
  const int32_t line = threadIdx.x / 8, chunk = threadIdx.x % 8;
  const uint16_t* source = router.x + int64_t{min(first + line, count - 1)} * router.k + chunk * 8;
  const int32_t panels = static_cast<int32_t>(panels_of(router.experts));
  for (int32_t base = 0; base < panels; base += kWarps) {
    const int32_t panel = min(base + warp, panels - 1);
    const char* weight = router.gate + int64_t{panel} * k_blocks * kBlockBytes;
    float sum[kTiles][4] = {}, c[kTiles][4] = {};
    uint4 next = *reinterpret_cast<const uint4*>(source);
    for (int32_t block = 0; block < k_blocks; ++block) {
      char* rows = tile[block % 2];
      *reinterpret_cast<uint4*>(rows + line * kPitch + chunk * 16) = next;
      if (block + 1 < k_blocks) {
        next = *reinterpret_cast<const uint4*>(source + (block + 1) * kBlockK);
      }
      uint32_t a[4][4];
#pragma unroll
      for (int step = 0; step < 4; ++step) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          a[step][i] = *reinterpret_cast<const uint32_t*>(weight + block * kBlockBytes +
                                                          fragment_offset(lane, step, i));
        }
      }
      __syncthreads();
      if (block > 0 && block % size == 0) {
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sum[t][i] += c[t][i];
            c[t][i] = 0;
          }
        }
      }
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const uint32_t address = shared_address(rows) + (t * 8 + lane % 8) * kPitch + lane / 8 * 16;
        uint32_t b[2][4];
        load_matrices(b[0], address);
        load_matrices(b[1], address + 64);
#pragma unroll
        for (int step = 0; step < 4; ++step) {
          mma_16x8x16(c[t], a[step], b[step / 2][step % 2 * 2], b[step / 2][step % 2 * 2 + 1]);
        }
      }
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int32_t row = first + t * 8 + lane % 4 * 2 + i % 2;
        const int32_t expert = panel * kPanelRows + lane / 4 + i / 2 * 8;
        if (base + warp < panels && row < count && expert < router.experts) {
          // Segments without a block add zero, as in the other kernel.
          router.logits[int64_t{row} * router.experts + expert] = sum[t][i] + c[t][i];
        }
      }
    }
  }
}

}  // namespace

cudaError_t router_logits(RowCount rows, const void* x, const void* gate, int32_t experts,
                          int32_t k, float* logits, cudaStream_t stream) {
  const Router router{
      rows, static_cast<const uint16_t*>(x), static_cast<const char*>(gate), experts, k, logits};
  constexpr int32_t kFew = 256;
  if (rows.bound <= kFew || k % kBlockK != 0) {
    return start(few_rows_kernel,
                 dim3(static_cast<unsigned>(panels_of(experts)), (rows.bound + 7) / 8),
                 dim3(kWarps * 32), 0, stream, router);
  }
  return start(many_rows_kernel, dim3((rows.bound + 31) / 32), dim3(kWarps * 32), 0, stream,
               router);
}

}  // namespace conclave::device::cuda
