#include "coordinator/chat_template/number_format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

std::string printed(const char* conversion, int precision, double value) {
  char buffer[1024];
  const int length = std::snprintf(buffer, sizeof buffer, conversion, precision, value);
  return std::string(buffer, static_cast<size_t>(std::clamp<int>(length, 0, sizeof buffer - 1)));
}

// As str() chooses between digits and an exponent, but to a precision.
std::string short_real(double value, int precision, bool alternate) {
  if (precision < 0 && !alternate) return float_repr(value);
  if (!std::isfinite(value)) return float_repr(value);
  if (precision < 0) return float_repr(value);
  precision = std::max(precision, 1);
  const std::string exact = printed("%.*e", precision - 1, value);
  const int exponent = std::atoi(exact.substr(exact.find('e') + 1).c_str());
  const bool scientific = exponent < -4 || exponent + 1 > precision - 1;
  std::string digits = scientific ? exact : printed("%.*f", precision - 1 - exponent, value);
  if (alternate) return digits;
  const size_t e = scientific ? digits.find('e') : digits.size();
  std::string mantissa = digits.substr(0, e);
  if (mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.ends_with('.')) mantissa += scientific ? "" : "0";
    if (mantissa.ends_with('.')) mantissa.pop_back();
  } else if (!scientific) {
    mantissa += ".0";
  }
  return mantissa + digits.substr(e);
}

std::string real_digits(double value, const FormatSpec& spec) {
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  if (spec.type == '%')
    return printed(spec.alternate ? "%#.*f" : "%.*f", precision, value * 100) + "%";
  if (spec.type == 0) return short_real(value, spec.precision, spec.alternate);
  const char type = spec.type == 'n' ? 'g' : spec.type;
  const std::string conversion =
      absl::StrCat(spec.alternate ? "%#.*" : "%.*", std::string(1, type));
  return printed(conversion.c_str(), precision, value);
}

std::string integer_digits(uint64_t value, char type) {
  const uint64_t base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  const char* letters = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string digits;
  do {
    digits += letters[value % base];
    value /= base;
  } while (value != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string grouped(std::string digits, char separator, size_t size) {
  if (digits.size() <= size) return digits;
  for (size_t at = digits.size() - size; at > 0; at = at > size ? at - size : 0)
    digits.insert(at, 1, separator);
  return digits;
}

// Sign and prefix, digits with their separators, what follows them, padded.
std::string assembled(const std::string& sign, std::string digits, const std::string& rest,
                      const FormatSpec& spec) {
  const size_t size =
      spec.type == 'b' || spec.type == 'o' || spec.type == 'x' || spec.type == 'X' ? 4 : 3;
  const bool zeros = spec.align == '=' && spec.fill == "0";
  const auto width = static_cast<size_t>(std::max(spec.width, 0));
  if (spec.grouping != 0) {
    std::string plain = digits;
    digits = grouped(plain, spec.grouping, size);
    // Zeros that pad are grouped like digits, and never start with a separator.
    while (zeros && sign.size() + digits.size() + rest.size() < width) {
      plain.insert(0, 1, '0');
      digits = grouped(plain, spec.grouping, size);
    }
  }
  const std::string body = digits + rest;
  if (spec.align != '=') return aligned(sign + body, spec, '>');
  const size_t used = sign.size() + body.size();
  std::string padding;
  for (size_t i = used; i < width; ++i) padding += spec.fill;
  return sign + padding + body;
}

std::string sign_of(bool negative, const FormatSpec& spec) {
  if (negative) return "-";
  return spec.sign == 0 || spec.sign == '-' ? "" : std::string(1, spec.sign);
}

std::optional<int> read_count(std::string_view text, size_t* at) {
  if (*at >= text.size() || std::isdigit(static_cast<unsigned char>(text[*at])) == 0)
    return std::nullopt;
  int value = 0;
  for (; *at < text.size() && std::isdigit(static_cast<unsigned char>(text[*at])) != 0; ++*at) {
    value = std::min(value * 10 + (text[*at] - '0'), 1'000'000);
  }
  return value;
}

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

// [[fill]align][sign][z][#][0][width][grouping][.precision][type]
absl::StatusOr<FormatSpec> parse_spec(std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  const auto skip = [&](char c) {
    const bool found = at < text.size() && text[at] == c;
    at += found ? 1 : 0;
    return found;
  };
  const size_t fill_bytes = text.empty() ? 0 : decode_rune(text).bytes;
  if (fill_bytes < text.size() && is_align(text[fill_bytes])) {
    spec.fill = std::string(text.substr(0, fill_bytes));
    spec.align = text[fill_bytes];
    at = fill_bytes + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[at++];
  }
  const bool fill_given = at > 1;
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' '))
    spec.sign = text[at++];
  spec.no_negative_zero = skip('z');
  spec.alternate = skip('#');
  if (!fill_given && skip('0')) {
    spec.fill = "0";
    if (spec.align == 0) spec.align = '0';  // '=' of a number, nothing of a text
  }
  spec.width = read_count(text, &at).value_or(0);
  if (skip(',')) spec.grouping = ',';
  if (skip('_')) {
    if (spec.grouping != 0) return bad_format("Cannot specify both ',' and '_'.");
    spec.grouping = '_';
  }
  if (skip(',')) return bad_format("Cannot specify ',' twice or both ',' and '_'.");
  if (skip('.')) {
    const std::optional<int> precision = read_count(text, &at);
    if (!precision) return bad_format("Format specifier missing precision");
    spec.precision = *precision;
  }
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) return bad_format("Invalid format specifier");
  if (spec.width > kMaxFormatWidth)
    return bad_format(absl::StrCat("a width above ", kMaxFormatWidth));
  if (spec.precision > kMaxFormatPrecision)
    return bad_format(absl::StrCat("a precision above ", kMaxFormatPrecision));
  return spec;
}

absl::Status unknown_code(const FormatSpec& spec, const Value& value) {
  return bad_format(absl::StrCat("Unknown format code '", std::string(1, spec.type),
                                 "' for object of type '", value.type_name(), "'"));
}

absl::StatusOr<std::string> format_text(const Value& value, FormatSpec spec) {
  if (spec.type != 0 && spec.type != 's') return unknown_code(spec, value);
  if (spec.sign != 0 || spec.alternate || spec.align == '=' || spec.no_negative_zero)
    return bad_format("Sign, '#' and '=' are not allowed in string format specifier");
  if (spec.grouping != 0) return bad_format("Cannot specify ',' or '_' with 's'.");
  if (spec.align == '0') spec.align = 0;
  return aligned(cut(value.text(), spec.precision), spec, '<');
}

absl::StatusOr<std::string> format_character(int64_t value, const FormatSpec& spec) {
  if (spec.sign != 0 || spec.alternate || spec.grouping != 0)
    return bad_format("Sign, '#' and ',' are not allowed with integer format specifier 'c'");
  if (value < 0 || value > 0x10ffff) return bad_format("%c arg not in range(0x110000)");
  std::string text;
  append_rune(text, static_cast<char32_t>(value));
  // A number to Python: it stands at the right, and zeros go where they go for numbers.
  return aligned(text, spec, '>');
}

absl::StatusOr<std::string> format_number(const Value& value, FormatSpec spec) {
  constexpr std::string_view kIntegerTypes = "bcdoxXn";
  constexpr std::string_view kRealTypes = "eEfFgGn%";
  if (spec.align == '0') spec.align = '=';
  const bool integer = !value.is_float() &&
                       (spec.type == 0 || kIntegerTypes.find(spec.type) != std::string_view::npos);
  if (!integer && spec.type != 0 && kRealTypes.find(spec.type) == std::string_view::npos)
    return unknown_code(spec, value);
  if (spec.grouping != 0 && spec.type == 'n')
    return bad_format("Cannot specify ',' or '_' with 'n'.");
  if (!integer) {
    if (spec.no_negative_zero &&
        real_digits(value.number(), spec).find_first_not_of("-0.eE+%") == std::string::npos) {
      return format_real(std::abs(value.number()), spec);
    }
    return format_real(value.number(), spec);
  }
  if (spec.precision >= 0) return bad_format("Precision not allowed in integer format specifier");
  if (spec.no_negative_zero)
    return bad_format("Negative zero coercion (z) not allowed in integer format specifier");
  if (spec.grouping == ',' && spec.type != 0 && spec.type != 'd')
    return bad_format("Cannot specify ',' with this type.");
  if (spec.type == 'c') return format_character(*value.integral(), spec);
  return format_integer(*value.integral(), spec);
}

}  // namespace

absl::Status bad_format(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("format: ", std::string(what)));
}

std::string aligned(const std::string& text, const FormatSpec& spec, char align) {
  const auto length = static_cast<int>(rune_count(text));
  if (length >= spec.width) return text;
  const auto missing = static_cast<size_t>(spec.width - length);
  const auto fill = [&](size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += spec.fill;
    return out;
  };
  const char place = spec.align == 0 ? align : spec.align;
  if (place == '^') return fill(missing / 2) + text + fill(missing - missing / 2);
  return place == '<' ? text + fill(missing) : fill(missing) + text;
}

std::string cut(const std::string& text, int precision) {
  if (precision < 0) return text;
  const std::vector<size_t> offsets = rune_offsets(text);
  return text.substr(0, offsets[std::min(offsets.size() - 1, static_cast<size_t>(precision))]);
}

std::string format_integer(int64_t value, const FormatSpec& spec, int digits) {
  const uint64_t magnitude =
      value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  std::string shown = integer_digits(magnitude, spec.type);
  if (static_cast<int>(shown.size()) < digits)
    shown.insert(0, static_cast<size_t>(digits) - shown.size(), '0');
  std::string sign = sign_of(value < 0, spec);
  const bool based = spec.type == 'b' || spec.type == 'o' || spec.type == 'x' || spec.type == 'X';
  if (spec.alternate && based) sign += absl::StrCat("0", std::string(1, spec.type));
  return assembled(sign, std::move(shown), "", spec);
}

std::string format_real(double value, const FormatSpec& spec) {
  std::string shown = real_digits(std::abs(value), spec);
  if (std::isnan(value)) shown = real_digits(std::abs(value), spec);
  size_t whole = 0;
  while (whole < shown.size() && std::isdigit(static_cast<unsigned char>(shown[whole])) != 0)
    ++whole;
  const std::string rest = shown.substr(whole);
  return assembled(sign_of(std::signbit(value) && !std::isnan(value), spec), shown.substr(0, whole),
                   rest, spec);
}

absl::StatusOr<std::string> format_value(Budget& budget, const Value& value,
                                         std::string_view spec_text) {
  if (spec_text.empty()) return to_text(budget, value);
  if (value.is_markup()) return bad_format("Unsupported format specification for Markup.");
  if (!value.is_string() && !value.is_number()) {
    return bad_format(
        absl::StrCat("unsupported format string passed to ", value.type_name(), ".__format__"));
  }
  ASSIGN_OR_RETURN(const FormatSpec spec, parse_spec(spec_text));
  return value.is_string() ? format_text(value, spec) : format_number(value, spec);
}

}  // namespace conclave::coordinator::jinja
