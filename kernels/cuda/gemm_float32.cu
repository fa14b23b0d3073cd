// float32 activations times weights in their stored type, for exact checks: one chain of fused
// multiply-adds over ascending k per output.

#include "kernels/cuda/gemm_task.cuh"
#include "kernels/cuda/launch.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kFeatures = 64;  // of a block
constexpr int kRows = 16;
constexpr int kStep = 32;  // k values in shared memory
constexpr int kThreads = 256;
constexpr int kRowsPerThread = kRows / (kThreads / kFeatures);

struct Tiles {
  float x[kRows][kStep];
  float weight[2][kFeatures][kStep + 1];
};

// Rows [first, first + kFeatures) of the weight from k on; zero beyond the matrix.
template <typename W>
__device__ void load_weights(float (&tile)[kFeatures][kStep + 1], const W* weight, int32_t first,
                             int32_t end, int32_t k, int32_t k_end) {
  for (int32_t i = threadIdx.x; i < kFeatures * kStep; i += kThreads) {
    const int32_t row = first + i / kStep, column = k + i % kStep;
    tile[i / kStep][i % kStep] =
        row < end && column < k_end ? to_float(weight[int64_t{row} * k_end + column]) : 0.0f;
  }
}

template <typename W, Epilogue kEpilogue>
__global__ void __launch_bounds__(kThreads) float32_kernel(Gemm gemm) {
  constexpr bool kSwiglu = kEpilogue == Epilogue::kSwiglu;
  __shared__ Tiles tiles;
  wait_for_predecessor();
  const GemmTask task = find_task(gemm, blockIdx.y, kRows);
  if (task.rows == 0) return;
  const int32_t width = kSwiglu ? gemm.n / 2 : gemm.n;
  const int32_t first = blockIdx.x * kFeatures;
  const auto* weight = reinterpret_cast<const W*>(task.weight);
  const int32_t feature = threadIdx.x % kFeatures;
  const int32_t row0 = threadIdx.x / kFeatures * kRowsPerThread;
  float sum[kRowsPerThread] = {}, up[kRowsPerThread] = {};
  for (int32_t k = 0; k < gemm.k; k += kStep) {
    for (int32_t i = threadIdx.x; i < kRows * kStep; i += kThreads) {
      const int32_t row = i / kStep, column = k + i % kStep;
      tiles.x[row][i % kStep] =
          row < task.rows && column < gemm.k
              ? static_cast<const float*>(
                    gemm.x)[input_row(gemm, task.first + row) * gemm.k + column]
              : 0.0f;
    }
    load_weights(tiles.weight[0], weight, first, width, k, gemm.k);
    if (kSwiglu) {
      load_weights(tiles.weight[1], weight + int64_t{width} * gemm.k, first, width, k, gemm.k);
    }
    __syncthreads();
    const int32_t end = min(kStep, gemm.k - k);
    for (int32_t i = 0; i < end; ++i) {
      const float w = tiles.weight[0][feature][i];
      const float u = kSwiglu ? tiles.weight[1][feature][i] : 0.0f;
#pragma unroll
      for (int r = 0; r < kRowsPerThread; ++r) {
        sum[r] = fmaf(w, tiles.x[row0 + r][i], sum[r]);
        if (kSwiglu) up[r] = fmaf(u, tiles.x[row0 + r][i], up[r]);
      }
    }
    __syncthreads();
  }
  if (first + feature >= width) return;
  for (int r = 0; r < kRowsPerThread; ++r) {
    if (row0 + r >= task.rows) break;
    const int32_t place = task.first + row0 + r;
    const int64_t row =
        kEpilogue == Epilogue::kPairs && gemm.pairs != nullptr ? gemm.pairs[place] : place;
    float* to = static_cast<float*>(gemm.out) + row * width + first + feature;
    if constexpr (kSwiglu) {
      *to = silu_times(sum[r], up[r]);
    } else if constexpr (kEpilogue == Epilogue::kPairs) {
      *to = sum[r];
    } else {
      const float value = gemm.bias == nullptr ? sum[r] : sum[r] + gemm.bias[first + feature];
      *to = gemm.accumulate != 0 ? *to + value : value;
    }
  }
}

template <typename W>
cudaError_t run(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream) {
  const int32_t width = epilogue == Epilogue::kSwiglu ? gemm.n / 2 : gemm.n;
  const dim3 grid((width + kFeatures - 1) / kFeatures,
                  static_cast<unsigned>(task_bound(gemm, kRows)));
  if (grid.x == 0 || grid.y == 0) return cudaSuccess;
  const dim3 block(kThreads);
  switch (epilogue) {
    case Epilogue::kFloat:
      return start(float32_kernel<W, Epilogue::kFloat>, grid, block, 0, stream, gemm);
    case Epilogue::kSwiglu:
      return start(float32_kernel<W, Epilogue::kSwiglu>, grid, block, 0, stream, gemm);
    case Epilogue::kPairs:
      return start(float32_kernel<W, Epilogue::kPairs>, grid, block, 0, stream, gemm);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t gemm_float32(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream) {
  if (gemm.dtype == kTypeF32) return run<float>(gemm, epilogue, stream);
  if (gemm.dtype == kTypeF16) return run<__half>(gemm, epilogue, stream);
  return run<bf16>(gemm, epilogue, stream);
}

}  // namespace conclave::device::cuda
