#ifndef CONCLAVE_KERNELS_CPU_SIMD_BASELINE_H_
#define CONCLAVE_KERNELS_CPU_SIMD_BASELINE_H_

// SSE2, which every x86-64 processor has. The three Simd* types have the same members:
//   F                    a vector of kLanes float32
//   fma(a, b, c)         a * b + c: one rounding with FMA hardware, two here
//   max, min             the second operand if either is NaN
//   load/store_partial   the first n lanes; the others read as zero, are not touched in memory
//   keep_range           lanes [begin, end) of x, the others of `other`; 0 <= begin, end <= kLanes
//   power_of_two(s)      2^n where s = n + 1.5 * 2^23
//   load_bf16_pair       32-bit words, each two bfloat16: the lower halves and the upper halves
//   load_bf16, load_f16  kLanes consecutive values
//   round_bf16           to bfloat16 and back: nearest, ties to even, NaN stays NaN

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/force_inline.h"

namespace conclave::kernels::cpu {

struct SimdBaseline {
  using F = __m128;
  static constexpr int kLanes = 4;
  static constexpr int kAccumulators = 12;  // of 16 registers
  static constexpr int kMaxTileRows = 6;

  static CONCLAVE_FORCE_INLINE F zero() { return _mm_setzero_ps(); }
  static CONCLAVE_FORCE_INLINE F set1(float x) { return _mm_set1_ps(x); }
  static CONCLAVE_FORCE_INLINE F load(const float* p) { return _mm_loadu_ps(p); }
  static CONCLAVE_FORCE_INLINE void store(float* p, F x) { _mm_storeu_ps(p, x); }
  static CONCLAVE_FORCE_INLINE F fma(F a, F b, F c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
  static CONCLAVE_FORCE_INLINE F add(F a, F b) { return _mm_add_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F sub(F a, F b) { return _mm_sub_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F mul(F a, F b) { return _mm_mul_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F div(F a, F b) { return _mm_div_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F max(F a, F b) { return _mm_max_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F min(F a, F b) { return _mm_min_ps(a, b); }

  static CONCLAVE_FORCE_INLINE F load_partial(const float* p, int n) {
    if (n == kLanes) return load(p);
    float lanes[kLanes] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  static CONCLAVE_FORCE_INLINE void store_partial(float* p, F x, int n) {
    if (n == kLanes) return store(p, x);
    float lanes[kLanes];
    store(lanes, x);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
  static CONCLAVE_FORCE_INLINE F keep_range(F x, int begin, int end, F other) {
    const __m128i index = _mm_setr_epi32(0, 1, 2, 3);
    const __m128i below = _mm_cmpgt_epi32(_mm_set1_epi32(end), index);
    const __m128i outside = _mm_cmpgt_epi32(_mm_set1_epi32(begin), index);
    return blend(_mm_castsi128_ps(_mm_andnot_si128(outside, below)), x, other);
  }
  static CONCLAVE_FORCE_INLINE F select_less(F x, F bound, F if_less, F otherwise) {
    return blend(_mm_cmplt_ps(x, bound), if_less, otherwise);
  }
  static CONCLAVE_FORCE_INLINE F power_of_two(F shifted) {
    const __m128i n = _mm_slli_epi32(_mm_castps_si128(shifted), 23);
    return _mm_castsi128_ps(_mm_add_epi32(n, _mm_set1_epi32(0x3f800000)));
  }

  static CONCLAVE_FORCE_INLINE void load_bf16_pair(const std::byte* p, F& low, F& high) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    low = _mm_castsi128_ps(_mm_slli_epi32(raw, 16));
    high = _mm_castsi128_ps(_mm_and_si128(raw, _mm_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static CONCLAVE_FORCE_INLINE F load_bf16(const void* p) {
    const __m128i raw = _mm_loadl_epi64(static_cast<const __m128i*>(p));
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), raw));
  }
  static CONCLAVE_FORCE_INLINE F load_f16(const void* p) {
    const __m128i raw =
        _mm_unpacklo_epi16(_mm_loadl_epi64(static_cast<const __m128i*>(p)), _mm_setzero_si128());
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(raw, _mm_set1_epi32(0x8000)), 16);
    const __m128i magnitude = _mm_slli_epi32(_mm_and_si128(raw, _mm_set1_epi32(0x7fff)), 13);
    // Multiplying by 2^112 moves the exponent and makes subnormals exact; infinity and NaN need
    // their exponent set.
    const __m128i scaled =
        _mm_castps_si128(_mm_mul_ps(_mm_castsi128_ps(magnitude), _mm_set1_ps(0x1p112f)));
    const __m128i special = _mm_and_si128(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x0f7fffff)),
                                          _mm_set1_epi32(0x7f800000));
    return _mm_castsi128_ps(_mm_or_si128(_mm_or_si128(scaled, special), sign));
  }
  static CONCLAVE_FORCE_INLINE F round_bf16(F x) { return _mm_castsi128_ps(rounded_bits(x)); }
  static CONCLAVE_FORCE_INLINE void store_bf16(void* p, F x) {
    // The arithmetic shift keeps each value inside int16, so that the saturating pack changes
    // nothing.
    const __m128i upper = _mm_srai_epi32(rounded_bits(x), 16);
    _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packs_epi32(upper, upper));
  }

 private:
  static CONCLAVE_FORCE_INLINE F blend(F mask, F a, F b) {
    return _mm_or_ps(_mm_and_ps(mask, a), _mm_andnot_ps(mask, b));
  }
  static CONCLAVE_FORCE_INLINE __m128i rounded_bits(F x) {
    const __m128i bits = _mm_castps_si128(x);
    const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    const __m128i nearest = _mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
    const __m128i quiet = _mm_or_si128(bits, _mm_set1_epi32(0x00400000));
    const F chosen =
        blend(_mm_cmpunord_ps(x, x), _mm_castsi128_ps(quiet), _mm_castsi128_ps(nearest));
    return _mm_and_si128(_mm_castps_si128(chosen), _mm_set1_epi32(static_cast<int>(0xffff0000u)));
  }
};

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_SIMD_BASELINE_H_
