// bfloat16 matrices of any shape: the plain kernel behind odd widths. A warp per panel of 16
// outputs and 8 rows, fragments straight from memory, the same MMA chain as the fast kernels.

#include "kernels/cuda/gemm_task.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed_layout.cuh"
#include "kernels/cuda/ptx.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kRows = 8;

// Two neighbouring activations, zero beyond k.
__device__ uint32_t load_two(const uint16_t* x, int32_t first, int32_t k) {
  const uint32_t low = first < k ? x[first] : 0;
  const uint32_t high = first + 1 < k ? x[first + 1] : 0;
  return low | high << 16;
}

template <Epilogue kEpilogue>
__global__ void __launch_bounds__(kWarps * 32) any_shape_kernel(Gemm gemm) {
  wait_for_predecessor_then_trigger();
  const int32_t panel = blockIdx.x * kWarps + threadIdx.x / 32;
  const int32_t lane = threadIdx.x % 32;
  const GemmTask task = find_task(gemm, blockIdx.y, kRows);
  if (task.rows == 0 || panel >= panels_of(gemm.n)) return;
  const int32_t k_blocks = static_cast<int32_t>(k_blocks_of(gemm.k));
  const char* weight = task.weight + int64_t{panel} * k_blocks * kBlockBytes;
  const int32_t row = min(lane / 4, task.rows - 1);
  const uint16_t* x =
      static_cast<const uint16_t*>(gemm.x) + input_row(gemm, task.first + row) * gemm.k;
  float c[4] = {};
  for (int32_t step = 0; step < k_blocks * 4; ++step) {
    const char* block = weight + step / 4 * kBlockBytes;
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i] = *reinterpret_cast<const uint32_t*>(block + fragment_offset(lane, step % 4, i));
    }
    const int32_t k = step * 16 + lane % 4 * 2;
    mma_16x8x16(c, a, load_two(x, k, gemm.k), load_two(x, k + 8, gemm.k));
  }
  store_fragment<kEpilogue>(gemm, panel, task.first, task.rows, c);
}

}  // namespace

cudaError_t gemm_any_shape(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((panels_of(gemm.n) + kWarps - 1) / kWarps),
                  static_cast<unsigned>(task_bound(gemm, kRows)));
  if (grid.x == 0 || grid.y == 0) return cudaSuccess;
  const dim3 block(kWarps * 32);
  switch (epilogue) {
    case Epilogue::kFloat:
      return start(any_shape_kernel<Epilogue::kFloat>, grid, block, 0, stream, gemm);
    case Epilogue::kSwiglu:
      return start(any_shape_kernel<Epilogue::kSwiglu>, grid, block, 0, stream, gemm);
    case Epilogue::kPairs:
      return start(any_shape_kernel<Epilogue::kPairs>, grid, block, 0, stream, gemm);
  }
  return cudaErrorInvalidValue;
}

}  // namespace conclave::device::cuda
