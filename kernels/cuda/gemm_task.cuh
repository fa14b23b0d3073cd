#ifndef CONCLAVE_KERNELS_CUDA_GEMM_TASK_CUH_
#define CONCLAVE_KERNELS_CUDA_GEMM_TASK_CUH_

// Which rows a block of a matrix kernel works on, found on the device from the groups' counts, and
// how it writes accumulators.

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/gemm.cuh"

namespace conclave::device::cuda {

struct GemmTask {
  int32_t first;  // place
  int32_t rows;   // 0: nothing to do
  const char* weight;
};

// At most this many tasks exist when groups are cut into chunks of `chunk` rows.
inline int32_t task_bound(const Gemm& gemm, int32_t chunk) {
  const int64_t places = int64_t{gemm.rows.bound} * gemm.top_k;
  if (gemm.counts == nullptr) return static_cast<int32_t>((places + chunk - 1) / chunk);
  const int64_t bound = places / chunk + gemm.groups;
  return static_cast<int32_t>(bound < places ? bound : places);
}

// Task `index` of the list that runs through the groups in order. Called by a whole warp; every
// lane gets the result.
__device__ inline GemmTask find_task(const Gemm& gemm, int32_t index, int32_t chunk) {
  GemmTask task{0, 0, static_cast<const char*>(gemm.weight)};
  if (gemm.counts == nullptr) {
    task.first = index * chunk;
    task.rows = max(0, min(chunk, actual_rows(gemm.rows) - task.first));
    return task;
  }
  const int32_t lane = threadIdx.x % 32;
  int32_t before = 0;  // tasks of the groups already passed
#pragma unroll 4
  for (int32_t base = 0; base < gemm.groups; base += 32) {
    const int32_t group = base + lane;
    const int32_t count = group < gemm.groups ? gemm.counts[group] : 0;
    const int32_t tasks = (count + chunk - 1) / chunk;
    int32_t end = tasks;  // inclusive prefix sum over the warp
#pragma unroll
    for (int step = 1; step < 32; step <<= 1) {
      const int32_t other = __shfl_up_sync(~0u, end, step);
      if (lane >= step) end += other;
    }
    const uint32_t beyond = __ballot_sync(~0u, before + end > index);
    if (beyond != 0) {
      const int32_t winner = __ffs(static_cast<int>(beyond)) - 1;
      const int32_t begin = __shfl_sync(~0u, before + end - tasks, winner);
      const int32_t rows = __shfl_sync(~0u, count, winner);
      const int32_t done = (index - begin) * chunk;
      task.first = gemm.offsets[base + winner] + done;
      task.rows = min(chunk, rows - done);
      if (gemm.slots != nullptr) {
        const ExpertSlot slot = gemm.slots[base + winner];
        task.weight = static_cast<const char*>(gemm.down ? slot.down : slot.gate_up);
      }
      if (task.weight == nullptr) task.rows = 0;
      return task;
    }
    before += __shfl_sync(~0u, end, 31);
  }
  return task;
}

__device__ inline int64_t input_row(const Gemm& gemm, int32_t place) {
  if (!gemm.gather) return place;
  return (gemm.pairs == nullptr ? place : gemm.pairs[place]) / gemm.top_k;
}

// c is the accumulator fragment of mma.m16n8k16: rows lane / 4 and + 8 of a panel, columns (places)
// 2 * (lane % 4) and + 1, of which the first `rows` exist. second: of kFloat, the same of a second
// segment; null: there is none. onto_first: c is the second segment, the first is in `out`.
template <Epilogue kEpilogue>
__device__ inline void store_fragment(const Gemm& gemm, int32_t panel, int32_t place, int32_t rows,
                                      const float (&c)[4], const float* second = nullptr,
                                      bool onto_first = false) {
  const int32_t lane = threadIdx.x % 32;
  const int32_t upper = panel * 16 + lane / 4;
#pragma unroll
  for (int column = 0; column < 2; ++column) {
    const int32_t offset = lane % 4 * 2 + column;
    if (offset >= rows) continue;
    const int32_t at = place + offset;
    if constexpr (kEpilogue == Epilogue::kSwiglu) {
      const int32_t feature = panel * 8 + lane / 4;
      const int32_t width = gemm.n / 2;
      if (feature < width) {
        static_cast<bf16*>(gemm.out)[int64_t{at} * width + feature] =
            from_float<bf16>(fast_silu_times(c[column], c[2 + column]));
      }
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int32_t feature = upper + half * 8;
        if (feature >= gemm.n) continue;
        const float value = c[half * 2 + column];
        if constexpr (kEpilogue == Epilogue::kPairs) {
          const int64_t row = gemm.pairs == nullptr ? at : gemm.pairs[at];
          static_cast<bf16*>(gemm.out)[row * gemm.n + feature] = from_float<bf16>(value);
        } else {
          float* to = static_cast<float*>(gemm.out) + int64_t{at} * gemm.n + feature;
          if (onto_first) {
            *to = *to + value;
            continue;
          }
          const float sum = gemm.bias == nullptr ? value : value + gemm.bias[feature];
          const float first = gemm.accumulate != 0 ? *to + sum : sum;
          *to = second == nullptr ? first : first + second[half * 2 + column];
        }
      }
    }
  }
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_GEMM_TASK_CUH_
