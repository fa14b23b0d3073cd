#ifndef CONCLAVE_KERNELS_EXPONENTIAL_H_
#define CONCLAVE_KERNELS_EXPONENTIAL_H_

// exp(x) for float32 without the C library, whose last bit differs between versions and processors.
// Cody-Waite reduction by ln 2 and the degree-6 minimax polynomial of exp on [-ln2/2, ln2/2];
// error below 2 units in the last place. Plain multiplies and adds, so every build rounds alike,
// and no branches, so that compilers can vectorise loops over it.

#include <bit>
#include <cstdint>

namespace conclave::kernels {

// Zero below -87, clamped to exp(88) above; NaN gives NaN.
inline float exp_float(float x) {
  const float clamped = x > 88.0f ? 88.0f : (x < -87.0f ? -87.0f : x);
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low mantissa bits.
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t scale = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u;
  const float value = p * std::bit_cast<float>(scale);
  return x < -87.0f ? 0.0f : value;
}

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_EXPONENTIAL_H_
