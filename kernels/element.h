#ifndef CONCLAVE_KERNELS_ELEMENT_H_
#define CONCLAVE_KERNELS_ELEMENT_H_

// One element of an array of any DType at any alignment: for packing weights and for plain loops.

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"

namespace conclave::kernels {

// Rounds to nearest, ties to even; overflow becomes infinity, NaN stays NaN.
inline uint16_t float_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Adding 0.5 puts the unit of a half subnormal (2^-24) in the last place of the float.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

inline float load_element(const void* data, DType dtype, int64_t index) {
  const auto* bytes =
      static_cast<const std::byte*>(data) + index * static_cast<int64_t>(dtype_bytes(dtype));
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes, sizeof half);
  return dtype == DType::kBF16 ? bf16_to_float(bf16{half}) : f16_to_float(half);
}

inline void store_element(void* data, DType dtype, int64_t index, float value) {
  auto* bytes = static_cast<std::byte*>(data) + index * static_cast<int64_t>(dtype_bytes(dtype));
  if (dtype == DType::kF32) {
    std::memcpy(bytes, &value, sizeof value);
    return;
  }
  const uint16_t half = dtype == DType::kBF16 ? float_to_bf16(value).bits : float_to_f16(value);
  std::memcpy(bytes, &half, sizeof half);
}

// What `value` becomes when it is stored in dtype and read back.
inline float round_to_dtype(float value, DType dtype) {
  if (dtype == DType::kF32) return value;
  return dtype == DType::kBF16 ? round_to_bf16(value) : f16_to_float(float_to_f16(value));
}

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_ELEMENT_H_
