#include "coordinator/chat_template/string_format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr int kMaxWidth = 10'000;
constexpr int kMaxPrecision = 100;

struct Specification {
  bool left = false;
  bool centre = false;
  bool align_given = false;
  bool plus = false;
  bool space = false;
  bool zero = false;
  std::string fill = " ";
  int width = 0;
  int precision = -1;
  char type = 0;
};

absl::Status bad_format(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("format: ", std::string(what)));
}

// Reads digits at *at; nothing if there are none.
absl::StatusOr<std::optional<int>> read_count(std::string_view text, size_t* at, int limit) {
  if (*at >= text.size() || std::isdigit(static_cast<unsigned char>(text[*at])) == 0) {
    return std::optional<int>();
  }
  int value = 0;
  for (; *at < text.size() && std::isdigit(static_cast<unsigned char>(text[*at])) != 0; ++*at) {
    value = value * 10 + (text[*at] - '0');
    if (value > limit) return bad_format(absl::StrCat("a width or precision above ", limit));
  }
  return std::optional<int>(value);
}

std::string padded(const std::string& text, const Specification& spec, bool numeric) {
  const auto length = static_cast<int>(rune_count(text));
  if (length >= spec.width) return text;
  const auto missing = static_cast<size_t>(spec.width - length);
  const auto fill = [&](size_t count) {
    std::string out;
    for (size_t i = 0; i < count; ++i) out += spec.fill;
    return out;
  };
  if (spec.centre) return fill(missing / 2) + text + fill(missing - missing / 2);
  if (spec.left) return text + fill(missing);
  if (spec.zero && numeric) {
    const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    return text.substr(0, sign) + std::string(missing, '0') + text.substr(sign);
  }
  return fill(missing) + text;
}

std::string with_sign(std::string digits, const Specification& spec) {
  if (digits[0] == '-') return digits;
  if (spec.plus) return "+" + digits;
  return spec.space ? " " + digits : digits;
}

absl::StatusOr<std::string> format_integer(const Value& value, const Specification& spec) {
  std::optional<int64_t> number = value.integral();
  if (!number && value.is_float() && std::abs(value.number()) < 9e18) {
    number = static_cast<int64_t>(value.number());
  }
  if (!number) {
    return bad_format(absl::StrCat("a number is required, not ", value.type_name()));
  }
  const bool negative = *number < 0;
  const uint64_t magnitude =
      negative ? 0 - static_cast<uint64_t>(*number) : static_cast<uint64_t>(*number);
  char buffer[32];
  const char* conversion = spec.type == 'x' ? "%llx" : spec.type == 'X' ? "%llX"
                           : spec.type == 'o' ? "%llo" : "%llu";
  std::snprintf(buffer, sizeof buffer, conversion, static_cast<unsigned long long>(magnitude));
  return padded(with_sign((negative ? "-" : "") + std::string(buffer), spec), spec, true);
}

absl::StatusOr<std::string> format_float(const Value& value, const Specification& spec) {
  if (!value.is_number()) {
    return bad_format(absl::StrCat("must be a real number, not ", value.type_name()));
  }
  const char conversion[] = {'%', '.', '*', spec.type, 0};
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  char buffer[512];
  std::snprintf(buffer, sizeof buffer, conversion, precision, value.number());
  return padded(with_sign(buffer, spec), spec, true);
}

std::string truncated(const std::string& text, int precision) {
  if (precision < 0) return text;
  const std::vector<size_t> offsets = rune_offsets(text);
  return text.substr(0, offsets[std::min(offsets.size() - 1, static_cast<size_t>(precision))]);
}

absl::StatusOr<std::string> format_one(Budget& budget, const Value& value,
                                       const Specification& spec) {
  switch (spec.type) {
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
      return format_integer(value, spec);
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      return format_float(value, spec);
    case 's': {
      ASSIGN_OR_RETURN(const std::string text, to_text(budget, value));
      return padded(truncated(text, spec.precision), spec, false);
    }
    case 'r': {
      ASSIGN_OR_RETURN(const std::string text, to_repr(budget, value));
      return padded(truncated(text, spec.precision), spec, false);
    }
    case 'c': {
      std::string text;
      if (value.is_string()) {
        text = value.text();
      } else {
        append_rune(text, static_cast<char32_t>(value.integral().value_or(0xfffd)));
      }
      return padded(text, spec, false);
    }
    default:
      return bad_format(absl::StrCat("unsupported format character '",
                                     std::string(1, spec.type), "'"));
  }
}

// The operands of `%`, consumed in order.
class PercentOperands {
 public:
  explicit PercentOperands(const Value& operand) : operand_(operand) {
    const Sequence* sequence = operand.as_sequence();
    tuple_ = sequence != nullptr && sequence->kind == SequenceKind::kTuple ? sequence : nullptr;
  }
  absl::StatusOr<Value> next() {
    if (tuple_ == nullptr && used_ == 0) {
      ++used_;
      return operand_;
    }
    if (tuple_ == nullptr || used_ >= tuple_->items.size()) {
      return bad_format("not enough arguments for format string");
    }
    return tuple_->items[used_++];
  }
  absl::StatusOr<Value> named(std::string_view key) {
    used_ = 1;
    const Dict* dict = operand_.as_dict();
    if (dict == nullptr) return bad_format("format requires a mapping");
    const Value* found = dict->find(key);
    if (found == nullptr) return bad_format(absl::StrCat("no key '", std::string(key), "'"));
    return *found;
  }
  bool all_used() const {
    if (tuple_ != nullptr) return used_ == tuple_->items.size();
    const bool optional = operand_.as_dict() != nullptr || operand_.as_sequence() != nullptr ||
                          operand_.is_undefined();
    return used_ == 1 || optional;
  }

 private:
  const Value& operand_;
  const Sequence* tuple_;
  size_t used_ = 0;
};

// At the character after '%' and an optional (key).
absl::StatusOr<Specification> read_percent(std::string_view pattern, size_t* at) {
  Specification spec;
  for (; *at < pattern.size(); ++*at) {
    const char c = pattern[*at];
    if (c == '-') {
      spec.left = true;
    } else if (c == '+') {
      spec.plus = true;
    } else if (c == ' ') {
      spec.space = true;
    } else if (c == '0') {
      spec.zero = true;
    } else if (c != '#') {
      break;
    }
  }
  ASSIGN_OR_RETURN(const std::optional<int> width, read_count(pattern, at, kMaxWidth));
  spec.width = width.value_or(0);
  if (*at < pattern.size() && pattern[*at] == '.') {
    ++*at;
    ASSIGN_OR_RETURN(const std::optional<int> precision, read_count(pattern, at, kMaxPrecision));
    spec.precision = precision.value_or(0);
  }
  if (*at >= pattern.size()) return bad_format("incomplete format");
  spec.type = pattern[(*at)++];
  return spec;
}

// [[fill]align][sign][0][width][.precision][type]
absl::StatusOr<Specification> read_braces(std::string_view text, const Value& value) {
  Specification spec;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^'; };
  const size_t fill_bytes = text.empty() ? 0 : decode_rune(text).bytes;
  if (fill_bytes < text.size() && is_align(text[fill_bytes])) {
    spec.fill = std::string(text.substr(0, fill_bytes));
    at = fill_bytes;
  }
  spec.left = !value.is_number();
  if (at < text.size() && is_align(text[at])) {
    spec.left = text[at] == '<';
    spec.centre = text[at] == '^';
    spec.align_given = true;
    ++at;
  }
  if (at < text.size() && (text[at] == '+' || text[at] == ' ' || text[at] == '-')) {
    spec.plus = text[at] == '+';
    spec.space = text[at] == ' ';
    ++at;
  }
  if (at < text.size() && text[at] == '0') {
    spec.zero = !spec.align_given;
    ++at;
  }
  ASSIGN_OR_RETURN(const std::optional<int> width, read_count(text, &at, kMaxWidth));
  spec.width = width.value_or(0);
  if (at < text.size() && text[at] == '.') {
    ++at;
    ASSIGN_OR_RETURN(const std::optional<int> precision, read_count(text, &at, kMaxPrecision));
    if (!precision) return bad_format("Format specifier missing precision");
    spec.precision = *precision;
  }
  const bool number = value.is_number() && !value.is_bool();
  spec.type = at < text.size() ? text[at++] : number && value.is_int() ? 'd' : 's';
  if (at != text.size()) return bad_format("Invalid format specifier");
  if (spec.type == 's' && number) return bad_format("Unknown format code 's' for a number");
  return spec;
}

struct Field {
  std::string_view name;
  char conversion = 0;
  std::string_view specification;
};

// {name!r:specification}, at the character after '{'.
absl::StatusOr<Field> read_field(std::string_view pattern, size_t* at) {
  const size_t close = pattern.find('}', *at);
  if (close == std::string_view::npos) return bad_format("expected '}' before end of string");
  std::string_view body = pattern.substr(*at, close - *at);
  *at = close + 1;
  Field field;
  if (body.find('{') != std::string_view::npos) return bad_format("nested fields");
  if (const size_t colon = body.find(':'); colon != std::string_view::npos) {
    field.specification = body.substr(colon + 1);
    body = body.substr(0, colon);
  }
  if (body.size() >= 2 && body[body.size() - 2] == '!') {
    field.conversion = body.back();
    body.remove_suffix(2);
  }
  field.name = body;
  return field;
}

absl::StatusOr<Value> field_value(const Arguments& arguments, std::string_view name,
                                  size_t* automatic) {
  size_t index = *automatic;
  if (name.empty()) {
    ++*automatic;
  } else if (std::all_of(name.begin(), name.end(),
                         [](unsigned char c) { return std::isdigit(c) != 0; })) {
    size_t at = 0;
    ASSIGN_OR_RETURN(const std::optional<int> number, read_count(name, &at, kMaxWidth));
    index = static_cast<size_t>(number.value_or(0));
  } else {
    for (const auto& [key, value] : arguments.named) {
      if (key == name) return value;
    }
    return bad_format(absl::StrCat("no field '", std::string(name), "'"));
  }
  if (index < arguments.positional.size()) return arguments.positional[index];
  return bad_format("Replacement index out of range for positional args tuple");
}

absl::StatusOr<std::string> format_field(Budget& budget, const Field& field, Value value) {
  if (field.conversion == 'r') {
    ASSIGN_OR_RETURN(std::string text, to_repr(budget, value));
    value = Value::string(std::move(text));
  } else if (field.conversion == 's') {
    ASSIGN_OR_RETURN(std::string text, to_text(budget, value));
    value = Value::string(std::move(text));
  } else if (field.conversion != 0) {
    return bad_format("unknown conversion");
  }
  if (field.specification.empty()) return to_text(budget, value);
  ASSIGN_OR_RETURN(const Specification spec, read_braces(field.specification, value));
  return format_one(budget, value, spec);
}

}  // namespace

absl::StatusOr<Value> format_percent(Budget& budget, std::string_view pattern,
                                     const Value& operand) {
  PercentOperands operands(operand);
  std::string out;
  for (size_t at = 0; at < pattern.size();) {
    if (pattern[at] != '%') {
      out += pattern[at++];
      continue;
    }
    ++at;
    std::optional<std::string_view> key;
    if (at < pattern.size() && pattern[at] == '(') {
      const size_t close = pattern.find(')', at);
      if (close == std::string_view::npos) return bad_format("incomplete format key");
      key = pattern.substr(at + 1, close - at - 1);
      at = close + 1;
    }
    ASSIGN_OR_RETURN(const Specification spec, read_percent(pattern, &at));
    if (spec.type == '%') {
      out += '%';
      continue;
    }
    ASSIGN_OR_RETURN(const Value value, key ? operands.named(*key) : operands.next());
    ASSIGN_OR_RETURN(const std::string text, format_one(budget, value, spec));
    out += text;
    RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  }
  if (!operands.all_used()) {
    return bad_format("not all arguments converted during string formatting");
  }
  return Value::string(std::move(out));
}

absl::StatusOr<Value> format_braces(Budget& budget, std::string_view pattern,
                                    const Arguments& arguments) {
  std::string out;
  size_t automatic = 0;
  for (size_t at = 0; at < pattern.size();) {
    const char c = pattern[at++];
    const bool doubled = at < pattern.size() && pattern[at] == c;
    if ((c == '{' || c == '}') && doubled) {
      out += c;
      ++at;
    } else if (c == '}') {
      return bad_format("Single '}' encountered in format string");
    } else if (c != '{') {
      out += c;
    } else {
      ASSIGN_OR_RETURN(const Field field, read_field(pattern, &at));
      ASSIGN_OR_RETURN(Value value, field_value(arguments, field.name, &automatic));
      ASSIGN_OR_RETURN(const std::string text, format_field(budget, field, std::move(value)));
      out += text;
      RETURN_IF_ERROR(budget.charge_bytes(out.size()));
    }
  }
  return Value::string(std::move(out));
}

}  // namespace conclave::coordinator::jinja
