#ifndef CONCLAVE_KERNELS_CPU_VECTOR_MATH_H_
#define CONCLAVE_KERNELS_CPU_VECTOR_MATH_H_

// Arithmetic over a Simd* type that several kernels share. Templates, never plain inline functions
// (force_inline.h).

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "kernels/cpu/force_inline.h"

namespace conclave::kernels::cpu {

// exp(x), about 1 unit in the last place: the method and constants of kernels/exponential.h.
// Zero below -87, exp(88) above 88; NaN gives NaN.
template <class S>
CONCLAVE_FORCE_INLINE typename S::F vector_exp(typename S::F x) {
  using F = typename S::F;
  const F clamped = S::min(S::set1(88.0f), S::max(S::set1(-87.0f), x));
  const F magic = S::set1(12582912.0f);
  const F shifted = S::fma(clamped, S::set1(1.44269504088896341f), magic);
  const F n = S::sub(shifted, magic);
  F r = S::fma(n, S::set1(-0.693359375f), clamped);
  r = S::fma(n, S::set1(2.12194440e-4f), r);
  F p = S::set1(1.9875691500e-4f);
  p = S::fma(p, r, S::set1(1.3981999507e-3f));
  p = S::fma(p, r, S::set1(8.3334519073e-3f));
  p = S::fma(p, r, S::set1(4.1665795894e-2f));
  p = S::fma(p, r, S::set1(1.6666665459e-1f));
  p = S::fma(p, r, S::set1(5.0000001201e-1f));
  p = S::fma(p, S::mul(r, r), S::add(r, S::set1(1.0f)));
  const F value = S::mul(p, S::power_of_two(shifted));
  return S::select_less(x, S::set1(-87.0f), S::zero(), value);
}

template <class S>
CONCLAVE_FORCE_INLINE typename S::F vector_sigmoid(typename S::F x) {
  const typename S::F one = S::set1(1.0f);
  return S::div(one, S::add(one, vector_exp<S>(S::sub(S::zero(), x))));
}

// Lane 0 of a function of one number.
template <class S>
CONCLAVE_FORCE_INLINE float first_lane(typename S::F x) {
  float lanes[S::kLanes];
  S::store(lanes, x);
  return lanes[0];
}

template <class S>
CONCLAVE_FORCE_INLINE float sum_lanes(typename S::F x) {
  float lanes[S::kLanes];
  S::store(lanes, x);
  float sum = lanes[0];
  for (int i = 1; i < S::kLanes; ++i) sum += lanes[i];
  return sum;
}

template <class S>
CONCLAVE_FORCE_INLINE float max_lane(typename S::F x) {
  float lanes[S::kLanes];
  S::store(lanes, x);
  float best = lanes[0];
  for (int i = 1; i < S::kLanes; ++i) best = lanes[i] > best ? lanes[i] : best;
  return best;
}

template <class S>
CONCLAVE_FORCE_INLINE typename S::F load_act(const void* data, DType dtype, int64_t at) {
  if (dtype == DType::kF32) return S::load(static_cast<const float*>(data) + at);
  const uint16_t* halves = static_cast<const uint16_t*>(data) + at;
  return dtype == DType::kBF16 ? S::load_bf16(halves) : S::load_f16(halves);
}

// The first n (0..kLanes) elements, the other lanes zero; reads no byte beyond them.
template <class S>
CONCLAVE_FORCE_INLINE typename S::F load_act_partial(const void* data, DType dtype, int64_t at,
                                                     int n) {
  if (n == S::kLanes) return load_act<S>(data, dtype, at);
  if (dtype == DType::kF32) return S::load_partial(static_cast<const float*>(data) + at, n);
  uint16_t lanes[S::kLanes] = {};
  const uint16_t* halves = static_cast<const uint16_t*>(data) + at;
  for (int i = 0; i < n; ++i) lanes[i] = halves[i];
  return dtype == DType::kBF16 ? S::load_bf16(lanes) : S::load_f16(lanes);
}

// dtype is float32 or bfloat16, the two activation types.
template <class S>
CONCLAVE_FORCE_INLINE void store_act_partial(void* data, DType dtype, int64_t at, typename S::F x,
                                             int n) {
  if (dtype == DType::kF32) {
    float* out = static_cast<float*>(data) + at;
    if (n == S::kLanes) {
      S::store(out, x);
    } else {
      S::store_partial(out, x, n);
    }
    return;
  }
  uint16_t* out = static_cast<uint16_t*>(data) + at;
  if (n == S::kLanes) {
    S::store_bf16(out, x);
    return;
  }
  uint16_t lanes[S::kLanes];
  S::store_bf16(lanes, x);
  for (int i = 0; i < n; ++i) out[i] = lanes[i];
}

template <class S>
CONCLAVE_FORCE_INLINE typename S::F round_act(typename S::F x, DType act) {
  return act == DType::kF32 ? x : S::round_bf16(x);
}

// Calls body(at, n) for n = kLanes elements at a time and once for the rest.
template <class S, class Body>
CONCLAVE_FORCE_INLINE void for_each_vector(int64_t count, Body&& body) {
  int64_t at = 0;
  for (; at + S::kLanes <= count; at += S::kLanes) body(at, S::kLanes);
  if (at < count) body(at, static_cast<int>(count - at));
}

// Sine and cosine of a float32 angle, to float32 accuracy at any position a context can have
// (|angle| < 2^30): reduction by pi/2 in float64 with a two-part constant, Taylor polynomials on
// [-pi/4, pi/4]. The C library's are not used because their last bit depends on its version and on
// the processor.
template <class S>
CONCLAVE_FORCE_INLINE void sine_cosine(float angle, float& sine, float& cosine) {
  const double x = static_cast<double>(angle);
  const double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double shifted = x * 0.63661977236758134308 + magic;
  const double n = shifted - magic;
  int64_t quadrant;
  std::memcpy(&quadrant, &shifted, sizeof quadrant);
  const double r = (x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
  const double r2 = r * r;
  double s = 1.0 / 6227020800.0;
  s = s * r2 - 1.0 / 39916800.0;
  s = s * r2 + 1.0 / 362880.0;
  s = s * r2 - 1.0 / 5040.0;
  s = s * r2 + 1.0 / 120.0;
  s = s * r2 - 1.0 / 6.0;
  s = r + r * r2 * s;
  double c = -1.0 / 87178291200.0;
  c = c * r2 + 1.0 / 479001600.0;
  c = c * r2 - 1.0 / 3628800.0;
  c = c * r2 + 1.0 / 40320.0;
  c = c * r2 - 1.0 / 720.0;
  c = c * r2 + 1.0 / 24.0;
  c = 1.0 - 0.5 * r2 + r2 * r2 * c;
  const bool swap = (quadrant & 1) != 0;
  const double sin_value = swap ? c : s;
  const double cos_value = swap ? s : c;
  sine = static_cast<float>((quadrant & 2) != 0 ? -sin_value : sin_value);
  cosine = static_cast<float>(((quadrant + 1) & 2) != 0 ? -cos_value : cos_value);
}

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_VECTOR_MATH_H_
