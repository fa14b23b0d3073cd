#include "coordinator/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

constexpr char32_t kFirstMoved = 0x100;
constexpr size_t kMovedCount = 68;

constexpr bool stands_for_itself(unsigned b) {
  return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

struct Tables {
  std::array<char16_t, 256> char_of_byte{};
  std::array<int16_t, kFirstMoved + kMovedCount> byte_of_char{};
};

constexpr Tables make_tables() {
  Tables tables;
  for (int16_t& byte : tables.byte_of_char) byte = -1;
  char16_t moved = kFirstMoved;
  for (unsigned b = 0; b < 256; ++b) {
    const char16_t c = stands_for_itself(b) ? static_cast<char16_t>(b) : moved++;
    tables.char_of_byte[b] = c;
    tables.byte_of_char[c] = static_cast<int16_t>(b);
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

void append_byte_chars(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) {
    append_char(kTables.char_of_byte[static_cast<unsigned char>(byte)], out);
  }
}

std::optional<unsigned char> byte_of_char(char32_t c) {
  if (c >= kTables.byte_of_char.size() || kTables.byte_of_char[c] < 0) return std::nullopt;
  return static_cast<unsigned char>(kTables.byte_of_char[c]);
}

void append_token_bytes(std::string_view token, std::string& out) {
  const size_t start = out.size();
  for (size_t at = 0; at < token.size();) {
    const std::optional<unsigned char> byte = byte_of_char(next_char(token, at));
    if (!byte.has_value()) {
      out.resize(start);
      out += token;
      return;
    }
    out.push_back(static_cast<char>(*byte));
  }
}

}  // namespace conclave::coordinator
