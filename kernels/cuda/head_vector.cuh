#ifndef CONCLAVE_KERNELS_CUDA_HEAD_VECTOR_CUH_
#define CONCLAVE_KERNELS_CUDA_HEAD_VECTOR_CUH_

// One projected head vector by one warp: norm, clip, rotary embedding. Lane l owns elements l, l +
// 32, …: every kernel that makes queries or keys keeps to that, for its bits.

#include "kernels/cuda/element.cuh"
#include "kernels/device_types.h"

namespace conclave::device::cuda {

struct HeadNorm {
  const float* weight;  // of this head; null: none
  float scale;
};

// From the sum of squares of `width` elements.
__device__ inline float head_scale(float square_sum, int32_t width, float eps) {
  const float mean = square_sum / static_cast<float>(width);
  return 1.0f / sqrtf(mean + eps);
}

// fminf drops NaN; a NaN must stay one.
__device__ inline float clip_keeping_nan(float x, float clip) {
  return clip > 0 && x == x ? fminf(fmaxf(x, -clip), clip) : x;
}

// An element before it is turned.
__device__ inline float normed_element(const HeadNorm& norm, float x, int32_t i, float clip) {
  return clip_keeping_nan(norm.weight != nullptr ? x * norm.scale * norm.weight[i] : x, clip);
}

// The angle of pair i at a position.
struct Turn {
  float sine, cosine;
};
__device__ inline Turn turn_of(const AttentionParameters& parameters, int32_t position, int32_t i) {
  Turn turn;
  sincosf(static_cast<float>(position) * parameters.inverse_freq[i], &turn.sine, &turn.cosine);
  turn.sine *= parameters.attention_factor;
  turn.cosine *= parameters.attention_factor;
  return turn;
}
__device__ inline float turned_low(const Turn& turn, float low, float high) {
  return fmaf(low, turn.cosine, -(high * turn.sine));
}
__device__ inline float turned_high(const Turn& turn, float low, float high) {
  return fmaf(high, turn.cosine, low * turn.sine);
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_HEAD_VECTOR_CUH_
