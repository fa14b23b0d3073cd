// Any bytes as a safetensors file: either an error that names the file, or a header whose tensors
// all lie inside the file.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kSource = "fuzzed.safetensors";
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const auto header = conclave::model::parse_safetensors_header(bytes, size, kSource);
  if (!header.ok()) {
    const std::string message(header.status().message());
    if (message.find(kSource) == std::string::npos) std::abort();
    return 0;
  }
  if (header->data_offset > size) std::abort();
  uint64_t covered = 0;
  for (const auto& [name, entry] : header->tensors) {
    if (entry.begin > entry.end || entry.end > size - header->data_offset) std::abort();
    covered += entry.end - entry.begin;
  }
  if (covered != size - header->data_offset) std::abort();
  return 0;
}
