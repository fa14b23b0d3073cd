#include "worker/dummy_values.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace conclave::worker {
namespace {

uint64_t mix(uint64_t value) {  // the finaliser of SplitMix64
  value += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

uint16_t to_f16(float value) {  // normal range only, rounds towards zero: enough for random numbers
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const int32_t exponent = static_cast<int32_t>((bits >> 23) & 0xffu) - 112;
  if (exponent <= 0) return static_cast<uint16_t>(sign);
  if (exponent >= 31) return static_cast<uint16_t>(sign | 0x7bffu);
  return static_cast<uint16_t>(sign | (static_cast<uint32_t>(exponent) << 10) | ((bits >> 13) & 0x3ffu));
}

template <typename T, typename Convert>
void fill(uint64_t seed, float bound, size_t count, std::byte* out, Convert convert) {
  constexpr size_t kLanes = 4;  // 16 random bits each
  const uint64_t key = mix(seed);
  const float scale = bound / 32768.0f;
  T values[kLanes];
  for (size_t i = 0; i < count; i += kLanes) {
    const uint64_t random = mix(key + i);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const auto lane_bits = static_cast<int16_t>(random >> (16 * lane));
      values[lane] = convert((static_cast<float>(lane_bits) + 0.5f) * scale);
    }
    const size_t n = std::min(kLanes, count - i);
    std::memcpy(out + i * sizeof(T), values, n * sizeof(T));
  }
}

}  // namespace

void fill_dummy_values(uint64_t seed, float bound, DType dtype, size_t count, std::byte* out) {
  switch (dtype) {
    case DType::kF32:
      fill<float>(seed, bound, count, out, [](float value) { return value; });
      break;
    case DType::kF16:
      fill<uint16_t>(seed, bound, count, out, to_f16);
      break;
    case DType::kBF16:
      fill<uint16_t>(seed, bound, count, out, [](float value) { return float_to_bf16(value).bits; });
      break;
  }
}

size_t dummy_shift(uint64_t seed, size_t shifts) { return mix(seed) % shifts; }

float dummy_bound(int64_t inputs) {
  return std::sqrt(3.0f / static_cast<float>(std::max<int64_t>(inputs, 1)));
}

}  // namespace conclave::worker
