#ifndef CONCLAVE_KERNELS_CPU_SIMD_AVX2_H_
#define CONCLAVE_KERNELS_CPU_SIMD_AVX2_H_

// AVX2 with FMA and F16C. See simd_baseline.h for the meaning of each operation.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/force_inline.h"

namespace conclave::kernels::cpu {

struct SimdAvx2 {
  using F = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kAccumulators = 12;  // of 16 registers
  static constexpr int kMaxTileRows = 6;

  static CONCLAVE_FORCE_INLINE F zero() { return _mm256_setzero_ps(); }
  static CONCLAVE_FORCE_INLINE F set1(float x) { return _mm256_set1_ps(x); }
  static CONCLAVE_FORCE_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
  static CONCLAVE_FORCE_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static CONCLAVE_FORCE_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static CONCLAVE_FORCE_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }

  static CONCLAVE_FORCE_INLINE F load_partial(const float* p, int n) {
    if (n == kLanes) return load(p);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index()));
  }
  static CONCLAVE_FORCE_INLINE void store_partial(float* p, F x, int n) {
    if (n == kLanes) return store(p, x);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index()), x);
  }
  static CONCLAVE_FORCE_INLINE F keep_range(F x, int begin, int end, F other) {
    const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), index());
    const __m256i outside = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), index());
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(_mm256_andnot_si256(outside, below)));
  }
  static CONCLAVE_FORCE_INLINE F select_less(F x, F bound, F if_less, F otherwise) {
    return _mm256_blendv_ps(otherwise, if_less, _mm256_cmp_ps(x, bound, _CMP_LT_OQ));
  }
  static CONCLAVE_FORCE_INLINE F power_of_two(F shifted) {
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(0x3f800000)));
  }

  static CONCLAVE_FORCE_INLINE void load_bf16_pair(const std::byte* p, F& low, F& high) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    low = _mm256_castsi256_ps(_mm256_slli_epi32(raw, 16));
    high = _mm256_castsi256_ps(
        _mm256_and_si256(raw, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static CONCLAVE_FORCE_INLINE F load_bf16(const void* p) {
    const __m128i raw = _mm_loadu_si128(static_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }
  static CONCLAVE_FORCE_INLINE F load_f16(const void* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  }
  static CONCLAVE_FORCE_INLINE F round_bf16(F x) { return _mm256_castsi256_ps(rounded_bits(x)); }
  static CONCLAVE_FORCE_INLINE void store_bf16(void* p, F x) {
    const __m256i upper = _mm256_srli_epi32(rounded_bits(x), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(upper, upper), 0x08);
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }

 private:
  static CONCLAVE_FORCE_INLINE __m256i index() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static CONCLAVE_FORCE_INLINE __m256i rounded_bits(F x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i nearest =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_and_si256(_mm256_blendv_epi8(nearest, quiet, nan),
                            _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
  }
};

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_SIMD_AVX2_H_
