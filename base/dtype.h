#ifndef CONCLAVE_BASE_DTYPE_H_
#define CONCLAVE_BASE_DTYPE_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace conclave {

// Element types of weights, activations, K/V and wire rows.
enum class DType : uint8_t { kF32 = 0, kF16 = 1, kBF16 = 2 };

// The arithmetic of a run. kF32: activations, K/V and wire rows are float32.
// kBF16: inputs of matmuls, K/V and exchanged rows are bfloat16; residual, norms, softmax, router
// logits and accumulation stay float32 (docs/numerics.md lists each rounding point).
enum class ComputeType : uint8_t { kF32 = 0, kBF16 = 1 };

constexpr size_t dtype_bytes(DType type) { return type == DType::kF32 ? 4 : 2; }
constexpr const char* dtype_name(DType type) {
  return type == DType::kF32 ? "F32" : type == DType::kF16 ? "F16" : "BF16";
}
constexpr DType activation_dtype(ComputeType type) {
  return type == ComputeType::kF32 ? DType::kF32 : DType::kBF16;
}
constexpr const char* compute_type_name(ComputeType type) {
  return type == ComputeType::kF32 ? "f32" : "bf16";
}

// bfloat16 is the upper half of a float32; conversion rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  uint16_t bits;
};
constexpr float bf16_to_float(bf16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}
constexpr bf16 float_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bf16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return bf16{static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
constexpr float round_to_bf16(float value) { return bf16_to_float(float_to_bf16(value)); }

// IEEE binary16 bits to float32, exact (subnormals included).
constexpr float f16_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace conclave

#endif  // CONCLAVE_BASE_DTYPE_H_
