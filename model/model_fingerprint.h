#ifndef CONCLAVE_MODEL_MODEL_FINGERPRINT_H_
#define CONCLAVE_MODEL_MODEL_FINGERPRINT_H_

// A name for a model's content that is the same on every machine and in every run. Internal to
// model/.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "model/model_spec.h"
#include "model/tensor_source.h"

namespace conclave::model {

// 64-bit FNV-1a with a final mix; not cryptographic.
class StableHash {
 public:
  void add_bytes(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) state_ = (state_ ^ std::to_integer<uint64_t>(byte)) * kPrime;
  }
  template <typename T>
  requires std::is_integral_v<T>
  void add(T value) {
    auto bits = static_cast<uint64_t>(value);
    for (int i = 0; i < 8; ++i, bits >>= 8) state_ = (state_ ^ (bits & 0xff)) * kPrime;
  }
  void add(float value) { add(std::bit_cast<uint32_t>(value)); }
  void add_text(std::string_view text) {
    add(text.size());
    add_bytes(std::as_bytes(std::span(text.data(), text.size())));
  }
  uint64_t value() const {
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }

 private:
  static constexpr uint64_t kPrime = 0x100000001b3ull;
  uint64_t state_ = 0xcbf29ce484222325ull;
};

// 16 hex digits over the spec, every tensor's name, shape and dtype, and bytes of a few tensors:
// enough to tell models apart without reading their files. The order of tensors does not matter.
std::string model_fingerprint(const ModelSpec& spec, std::span<const NamedTensor> tensors);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_MODEL_FINGERPRINT_H_
