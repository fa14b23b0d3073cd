#include "coordinator/chat_template/literals.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// Digits of the base with single underscores between them, from `at`; returns where they end.
size_t digits_end(std::string_view text, size_t at, int base, bool leading_underscore) {
  size_t end = at;
  for (;;) {
    size_t next = end;
    const bool underscore_allowed = end > at || leading_underscore;
    if (underscore_allowed && next < text.size() && text[next] == '_') ++next;
    if (next >= text.size() || digit_value(text[next]) >= base) return end;
    end = next + 1;
  }
}

std::string without_underscores(std::string_view text) {
  std::string out(text);
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  return out;
}

int prefix_base(std::string_view text) {
  if (text.size() < 2 || text[0] != '0') return 0;
  switch (text[1]) {
    case 'b':
    case 'B':
      return 2;
    case 'o':
    case 'O':
      return 8;
    case 'x':
    case 'X':
      return 16;
    default:
      return 0;
  }
}

std::optional<uint64_t> accumulate(std::string_view digits, int base) {
  uint64_t value = 0;
  for (char c : digits) {
    if (c == '_') continue;
    if (__builtin_mul_overflow(value, static_cast<uint64_t>(base), &value)) return std::nullopt;
    if (__builtin_add_overflow(value, static_cast<uint64_t>(digit_value(c)), &value)) {
      return std::nullopt;
    }
  }
  return value;
}

// Reads `count` hex digits after text[at], where \x, \u or \U stands.
absl::StatusOr<char32_t> read_hex(std::string_view text, size_t at, size_t count) {
  char32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (at + i >= text.size() || digit_value(text[at + i]) >= 16) {
      return absl::InvalidArgumentError("truncated \\xXX, \\uXXXX or \\UXXXXXXXX escape");
    }
    value = value * 16 + static_cast<char32_t>(digit_value(text[at + i]));
  }
  if (value > 0x10ffff) return absl::InvalidArgumentError("illegal Unicode character");
  return value;
}

char simple_escape(char c) {
  switch (c) {
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return 0;
  }
}

}  // namespace

size_t float_literal_length(std::string_view text) {
  const size_t whole = digits_end(text, 0, 10, false);
  if (whole == 0) return 0;
  size_t end = whole;
  bool fractional = false;
  if (end < text.size() && text[end] == '.') {
    const size_t fraction_end = digits_end(text, end + 1, 10, false);
    fractional = fraction_end > end + 1;
    if (fractional) end = fraction_end;
  }
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t at = end + 1;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t exponent_end = digits_end(text, at, 10, false);
    if (exponent_end > at) return exponent_end;
  }
  return fractional ? end : 0;
}

size_t integer_literal_length(std::string_view text) {
  if (const int base = prefix_base(text); base != 0) {
    const size_t end = digits_end(text, 2, base, true);
    if (end > 2) return end;
  }
  if (text.empty() || text[0] < '0' || text[0] > '9') return 0;
  return text[0] == '0' ? digits_end(text, 0, 1, false) : digits_end(text, 0, 10, false);
}

absl::StatusOr<int64_t> parse_integer_literal(std::string_view literal) {
  const int base = prefix_base(literal);
  const std::optional<uint64_t> value =
      accumulate(literal.substr(base == 0 ? 0 : 2), base == 0 ? 10 : base);
  if (!value || *value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the number ", std::string(literal), " does not fit a 64-bit integer"));
  }
  return static_cast<int64_t>(*value);
}

double parse_float_literal(std::string_view literal) {
  return std::strtod(without_underscores(literal).c_str(), nullptr);
}

size_t string_literal_length(std::string_view text) {
  if (text.empty() || (text[0] != '\'' && text[0] != '"')) return 0;
  for (size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == text[0]) {
      return at + 1;
    }
  }
  return 0;
}

absl::StatusOr<std::string> unescape_string(std::string_view body) {
  std::string out;
  for (size_t at = 0; at < body.size();) {
    const char c = body[at++];
    if (c != '\\' || at == body.size()) {
      out += c;
      continue;
    }
    const char kind = body[at++];
    if (const char plain = simple_escape(kind); plain != 0) {
      out += plain;
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      const size_t count = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
      const absl::StatusOr<char32_t> code_point = read_hex(body, at, count);
      if (!code_point.ok()) return code_point.status();
      append_rune(out, *code_point);
      at += count;
    } else if (kind >= '0' && kind <= '7') {
      char32_t value = static_cast<char32_t>(kind - '0');
      for (int i = 0; i < 2 && at < body.size() && body[at] >= '0' && body[at] <= '7'; ++i) {
        value = value * 8 + static_cast<char32_t>(body[at++] - '0');
      }
      append_rune(out, value);
    } else if (kind == 'N') {
      return absl::InvalidArgumentError("\\N{...} escapes are not supported; use \\u");
    } else if (kind != '\n') {
      out += '\\';
      out += kind;
    }
  }
  return out;
}

namespace {

// Python reads the decimal digits of every script.
std::string with_ascii_digits(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const DecodedRune rune = decode_rune(text);
    if (rune.code_point > 0x7F && is_decimal(rune.code_point)) {
      // Unicode lists each script's digits in order, ten in a row; rows may follow one another.
      char32_t zero = rune.code_point;
      while (is_decimal(zero - 1)) --zero;
      out += static_cast<char>('0' + (rune.code_point - zero) % 10);
    } else {
      out.append(text.substr(0, rune.bytes));
    }
    text.remove_prefix(rune.bytes);
  }
  return out;
}

}  // namespace

std::optional<int64_t> parse_python_int(std::string_view given, int base, bool* beyond) {
  const std::string ascii = with_ascii_digits(strip(given, StripSide::kBoth));
  std::string_view text = ascii;
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const int marked = prefix_base(text);
  if (marked != 0 && (base == marked || base == 0)) {
    base = marked;
    text.remove_prefix(2);
    if (text.starts_with('_')) text.remove_prefix(1);
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36 || text.empty()) return std::nullopt;
  if (digits_end(text, 0, base, false) != text.size()) return std::nullopt;
  const std::optional<uint64_t> value = accumulate(text, base);
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!value || *value > kMax + (negative ? 1 : 0)) {
    if (beyond != nullptr) *beyond = true;
    return std::nullopt;
  }
  return static_cast<int64_t>(negative ? 0 - *value : *value);
}

std::optional<double> parse_python_float(std::string_view text) {
  const std::string stripped = with_ascii_digits(strip(text, StripSide::kBoth));
  std::string_view digits = stripped;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  const std::string word = to_lower(digits);
  const bool special = word == "inf" || word == "infinity" || word == "nan";
  if (!special) {
    const size_t whole = digits_end(digits, 0, 10, false);
    size_t end = whole;
    if (end < digits.size() && digits[end] == '.') end = digits_end(digits, end + 1, 10, false);
    if (end == 0 || digits.substr(0, end) == ".") return std::nullopt;
    if (end < digits.size() && (digits[end] == 'e' || digits[end] == 'E')) {
      size_t at = end + 1;
      if (at < digits.size() && (digits[at] == '+' || digits[at] == '-')) ++at;
      const size_t exponent_end = digits_end(digits, at, 10, false);
      if (exponent_end == at) return std::nullopt;
      end = exponent_end;
    }
    if (end != digits.size()) return std::nullopt;
  }
  return std::strtod(without_underscores(stripped).c_str(), nullptr);
}

}  // namespace conclave::coordinator::jinja
