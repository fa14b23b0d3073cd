#ifndef CONCLAVE_KERNELS_CPU_SIMD_AVX512_H_
#define CONCLAVE_KERNELS_CPU_SIMD_AVX512_H_

// AVX-512 (F, BW, VL, DQ). See simd_baseline.h for the meaning of each operation.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/force_inline.h"

namespace conclave::kernels::cpu {

struct SimdAvx512 {
  using F = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kAccumulators = 28;  // of 32 registers
  static constexpr int kMaxTileRows = 14;

  static CONCLAVE_FORCE_INLINE F zero() { return _mm512_setzero_ps(); }
  static CONCLAVE_FORCE_INLINE F set1(float x) { return _mm512_set1_ps(x); }
  static CONCLAVE_FORCE_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
  static CONCLAVE_FORCE_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static CONCLAVE_FORCE_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static CONCLAVE_FORCE_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
  static CONCLAVE_FORCE_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }

  static CONCLAVE_FORCE_INLINE F load_partial(const float* p, int n) {
    return _mm512_maskz_loadu_ps(first(n), p);
  }
  static CONCLAVE_FORCE_INLINE void store_partial(float* p, F x, int n) {
    _mm512_mask_storeu_ps(p, first(n), x);
  }
  static CONCLAVE_FORCE_INLINE F keep_range(F x, int begin, int end, F other) {
    const auto mask = static_cast<__mmask16>(first(end) & ~first(begin));
    return _mm512_mask_blend_ps(mask, other, x);
  }
  static CONCLAVE_FORCE_INLINE F select_less(F x, F bound, F if_less, F otherwise) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, bound, _CMP_LT_OQ), otherwise, if_less);
  }
  static CONCLAVE_FORCE_INLINE F power_of_two(F shifted) {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(0x3f800000)));
  }

  static CONCLAVE_FORCE_INLINE void load_bf16_pair(const std::byte* p, F& low, F& high) {
    const __m512i raw = _mm512_loadu_si512(p);
    low = _mm512_castsi512_ps(_mm512_slli_epi32(raw, 16));
    high = _mm512_castsi512_ps(
        _mm512_and_si512(raw, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static CONCLAVE_FORCE_INLINE F load_bf16(const void* p) {
    const __m256i raw = _mm256_loadu_si256(static_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }
  static CONCLAVE_FORCE_INLINE F load_f16(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  static CONCLAVE_FORCE_INLINE F round_bf16(F x) { return _mm512_castsi512_ps(rounded_bits(x)); }
  static CONCLAVE_FORCE_INLINE void store_bf16(void* p, F x) {
    const __m512i upper = _mm512_srli_epi32(rounded_bits(x), 16);
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(upper));
  }

 private:
  static CONCLAVE_FORCE_INLINE __mmask16 first(int n) {
    return static_cast<__mmask16>((1u << n) - 1u);
  }
  static CONCLAVE_FORCE_INLINE __m512i rounded_bits(F x) {
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i nearest =
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_and_si512(_mm512_mask_blend_epi32(nan, nearest, quiet),
                            _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  }
};

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_SIMD_AVX512_H_
