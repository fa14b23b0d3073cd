#ifndef CONCLAVE_KERNELS_CUDA_ROUTE_ROW_CUH_
#define CONCLAVE_KERNELS_CUDA_ROUTE_ROW_CUH_

// The routing of one row by one warp: softmax over the logits, the best k in ascending id.

#include <climits>
#include <cstdint>

#include "kernels/cuda/element.cuh"

namespace conclave::device::cuda {

// Orders by logit, then by lower id; NaN counts as the smallest.
struct Candidate {
  float logit;
  int32_t id;
};
__device__ inline bool better(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}
__device__ inline Candidate best_of_warp(Candidate mine) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    const Candidate other{__shfl_xor_sync(~0u, mine.logit, step),
                          __shfl_xor_sync(~0u, mine.id, step)};
    if (better(other, mine)) mine = other;
  }
  return mine;
}

// How a warp finds the best top_k of the logits of its lanes: the chosen as bits, lane l those of
// its own ids, which ascend with i, then l. `taken`: ids that do not exist.
struct ByShuffles {
  template <int kPerLane>
  __device__ static uint32_t choose(const float (&mine)[kPerLane], uint32_t taken, int32_t top_k) {
    const int32_t lane = threadIdx.x % 32;
    uint32_t chosen = 0;
    for (int32_t j = 0; j < top_k; ++j) {
      Candidate best{-INFINITY, INT_MAX};
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const Candidate candidate{mine[i], lane + i * 32};
        if ((taken >> i & 1) == 0 && (best.id == INT_MAX || better(candidate, best)))
          best = candidate;
      }
      const Candidate winner = best_of_warp(best);
      if (winner.id % 32 == lane) {
        taken |= 1u << winner.id / 32;
        chosen |= 1u << winner.id / 32;
      }
    }
    return chosen;
  }
};

// The same by the warp's integer reductions, a quarter of the time: logits as integers of the same
// order (both zeros are one), 0 for what cannot be chosen.
struct ByReductions {
  __device__ static uint32_t key_of(float logit) {
    const uint32_t bits = __float_as_uint(logit + 0.0f);
    return bits >> 31 != 0 ? ~bits : bits | 1u << 31;
  }
  template <int kPerLane>
  __device__ static uint32_t choose(const float (&mine)[kPerLane], uint32_t taken, int32_t top_k) {
    const int32_t lane = threadIdx.x % 32;
    uint32_t key[kPerLane], chosen = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) key[i] = (taken >> i & 1) != 0 ? 0 : key_of(mine[i]);
    for (int32_t j = 0; j < top_k; ++j) {
      uint32_t best = key[0];
      int32_t at = 0;
#pragma unroll
      for (int i = 1; i < kPerLane; ++i) {
        if (key[i] > best) {
          best = key[i];
          at = i;
        }
      }
      const uint32_t most = __reduce_max_sync(~0u, best);
      const uint32_t id = best == most ? static_cast<uint32_t>(lane + at * 32) : UINT_MAX;
      if (__reduce_min_sync(~0u, id) != id) continue;
      chosen |= 1u << at;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) key[i] = i == at ? 0 : key[i];
    }
    return chosen;
  }
};

// One warp per row. Experts of a lane: lane, lane + 32, …; kPerLane of them in registers.
template <typename Chooser, int kPerLane>
__device__ void route_row(const RouterShape& shape, const float* logits, int32_t* ids,
                          float* weights) {
  const int32_t lane = threadIdx.x % 32;
  float mine[kPerLane];
  uint32_t taken = 0;
  float max = -INFINITY;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int32_t expert = lane + i * 32;
    const float logit = expert < shape.experts ? logits[expert] : -INFINITY;
    mine[i] = logit == logit ? logit : -INFINITY;
    if (expert >= shape.experts) taken |= 1u << i;
    max = fmaxf(max, mine[i]);
  }
  max = warp_max(max);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (lane + i * 32 < shape.experts) sum += expf(mine[i] - max);
  }
  sum = warp_sum(sum);
  const uint32_t chosen = Chooser::choose(mine, taken, shape.top_k);
  float chosen_sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (chosen >> i & 1) chosen_sum += expf(mine[i] - max);
  }
  chosen_sum = warp_sum(chosen_sum);
  const float scale = shape.normalize_top_k != 0 ? chosen_sum : sum;
  int32_t written = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const uint32_t lanes = __ballot_sync(~0u, chosen >> i & 1);
    if (chosen >> i & 1) {
      const int32_t at = written + __popc(lanes & ((1u << lane) - 1));
      ids[at] = lane + i * 32;
      weights[at] = expf(mine[i] - max) / scale;
    }
    written += __popc(lanes);
  }
}

template <typename Chooser, int kPerLane>
__device__ void route_or_clear(const RouterShape& shape, const RowCount& rows, int32_t row,
                               const float* logits, int32_t* ids, float* weights) {
  const int64_t first = int64_t{row} * shape.top_k;
  if (row < actual_rows(rows)) {
    route_row<Chooser, kPerLane>(shape, logits + int64_t{row} * shape.experts, ids + first, weights + first);
    return;
  }
  for (int32_t j = threadIdx.x % 32; j < shape.top_k; j += 32) {
    ids[first + j] = -1;
    weights[first + j] = 0;
  }
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ROUTE_ROW_CUH_
