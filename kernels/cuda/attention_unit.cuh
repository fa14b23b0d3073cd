#ifndef CONCLAVE_KERNELS_CUDA_ATTENTION_UNIT_CUH_
#define CONCLAVE_KERNELS_CUDA_ATTENTION_UNIT_CUH_

// The unit of bfloat16 attention: 16 query rows (a warp) against the 128 keys of one span aligned
// to absolute positions, from scratch; and how units are joined, in ascending order. Decode
// computes the units of a row in different blocks, the last of which joins them, prefill joins them
// in registers: same operations, same order, same bits (law 1). Softmax in base 2;
// probabilities are rounded to bfloat16 and the denominator adds the rounded ones
// (docs/numerics.md).
//
// Shared memory of a unit: 8 blocks of 16 tokens as they lie in the cache (kv_layout.cuh,
// swizzled), K then V of each. V rows of keys that no row of the block sees must be zero.

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/kv_layout.cuh"
#include "kernels/cuda/ptx.cuh"

namespace conclave::device::cuda {

inline constexpr int kUnitKeys = 128;
inline constexpr int kUnitBlocks = kUnitKeys / kKvTokens;

template <int kHeadDim>
inline constexpr int kKvBlockBytes = 2 * kKvTokens* kHeadDim * 2;
template <int kHeadDim>
inline constexpr int kUnitBytes = kUnitBlocks* kKvBlockBytes<kHeadDim>;

__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Over the four lanes that share a row.
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// The keys that a row sees are (position - window, position], all up to position if window is 0.
struct Sight {
  int32_t position[2];  // of the rows lane / 4 and lane / 4 + 8
  int32_t window;
  float scale_log2;  // of scores, times log2(e)
};

// Scores of the 16 rows at `q` (shared address, rows of kHeadDim swizzled like the cache) with
// kBlocks blocks from `kv` on, the first of which begins at key `first_key`; blocks from `blocks`
// on do not exist. Scaled; -infinity where a row does not see the key.
template <int kHeadDim, int kBlocks>
__device__ inline void unit_scores(float (&s)[kBlocks * 2][4], uint32_t q, uint32_t kv,
                                   int32_t first_key, int32_t blocks, const Sight& sight) {
  constexpr int kRowBytes = kHeadDim * 2;
  const int32_t lane = threadIdx.x % 32, line = lane % 8;
  const uint32_t q_row = q + (lane / 8 % 2 * 8 + line) * kRowBytes;
  const uint32_t k_row = kv + (lane / 16 * 8 + line) * kRowBytes;
#pragma unroll
  for (int i = 0; i < kBlocks * 2; ++i) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    uint32_t a[4];
    load_matrices(a, q_row + ((step * 2 + lane / 16) ^ line) * 16);
    const uint32_t column = ((step * 2 + lane / 8 % 2) ^ line) * 16;
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      if (block >= blocks) continue;
      uint32_t b[4];
      load_matrices(b, k_row + block * kKvBlockBytes<kHeadDim> + column);
      mma_16x8x16(s[block * 2], a, b[0], b[1]);
      mma_16x8x16(s[block * 2 + 1], a, b[2], b[3]);
    }
  }
#pragma unroll
  for (int i = 0; i < kBlocks * 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int32_t key = first_key + i * 8 + lane % 4 * 2 + j % 2;
      const int32_t last = sight.position[j / 2];
      const bool seen =
          i / 2 < blocks && key <= last && (sight.window == 0 || key > last - sight.window);
      s[i][j] = seen ? s[i][j] * sight.scale_log2 : -INFINITY;
    }
  }
}

// Probabilities of row r of the fragments relative to `max`, as operand halves p[i]; their sum over
// the 32 keys of each pair of blocks goes to sums[pair].
template <int kBlocks>
__device__ inline void unit_probabilities(const float (&s)[kBlocks * 2][4], int r, float max,
                                          uint32_t (&p)[kBlocks * 2], float (&sums)[kBlocks / 2]) {
  const float base = max == -INFINITY ? 0.0f : max;
#pragma unroll
  for (int pair = 0; pair < kBlocks / 2; ++pair) {
    float sum = 0;
#pragma unroll
    for (int i = pair * 4; i < pair * 4 + 4; ++i) {
      const float low = rounded<bf16>(exp2_fast(s[i][r * 2] - base));
      const float high = rounded<bf16>(exp2_fast(s[i][r * 2 + 1] - base));
      sum += low + high;
      p[i] = pack_bf16(low, high);
    }
    sums[pair] = quad_sum(sum);
  }
}

// c[16 rows x 16 elements] += probabilities of a block's 16 keys times the 16 elements of V from
// `column` on.
template <int kHeadDim>
__device__ inline void add_values(float (&low)[4], float (&high)[4], const uint32_t (&p)[4],
                                  uint32_t block, int32_t column) {
  const int32_t lane = threadIdx.x % 32, line = lane % 8;
  const uint32_t row =
      block + kKvBlockBytes<kHeadDim> / 2 + (lane / 8 % 2 * 8 + line) * kHeadDim * 2;
  uint32_t b[4];
  load_matrices_transposed(b, row + ((column / 8 + lane / 16) ^ line) * 16);
  mma_16x8x16(low, p, b[0], b[1]);
  mma_16x8x16(high, p, b[2], b[3]);
}

// Factors that bring the state (max m) and a unit (max u) to their common maximum.
struct JoinFactors {
  float max, state, unit;
};
__device__ inline JoinFactors join_factors(float m, float u) {
  const float max = fmaxf(m, u);
  return {max, m == max ? 1.0f : exp2_fast(m - max), u == max ? 1.0f : exp2_fast(u - max)};
}
__device__ inline float joined(const JoinFactors& f, float state, float unit) {
  return fmaf(state, f.state, unit * f.unit);
}

// Zeroes the V rows of tokens [first_token, 16) of the block at `kv`; by one warp.
template <int kHeadDim>
__device__ inline void clear_values(char* block, int32_t first_token) {
  const int32_t lane = threadIdx.x % 32;
  auto* v = reinterpret_cast<uint4*>(block + kKvBlockBytes<kHeadDim> / 2);
  for (int32_t i = first_token * (kHeadDim / 8) + lane; i < kKvTokens * (kHeadDim / 8); i += 32) {
    v[i] = make_uint4(0, 0, 0, 0);
  }
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ATTENTION_UNIT_CUH_
