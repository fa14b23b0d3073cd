// The `%` operator of texts.
#include "coordinator/chat_template/string_format.h"

#include <cctype>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/number_format.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

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

struct Conversion {
  FormatSpec spec;
  bool left = false;
  bool zero = false;
};

absl::StatusOr<int> read_number(std::string_view pattern, size_t* at, PercentOperands& operands,
                                int limit) {
  int value = 0;
  if (*at < pattern.size() && pattern[*at] == '*') {
    ++*at;
    ASSIGN_OR_RETURN(const Value given, operands.next());
    if (!given.integral()) return bad_format("* wants int");
    if (std::abs(static_cast<double>(*given.integral())) > limit)
      return bad_format("a width or precision that is too large");
    return static_cast<int>(*given.integral());
  }
  for (; *at < pattern.size() && std::isdigit(static_cast<unsigned char>(pattern[*at])) != 0;
       ++*at) {
    value = value * 10 + (pattern[*at] - '0');
    if (value > limit) return bad_format(absl::StrCat("a width or precision above ", limit));
  }
  return value;
}

// At the character after '%' and an optional (key).
absl::StatusOr<Conversion> read_conversion(std::string_view pattern, size_t* at,
                                           PercentOperands& operands) {
  Conversion read;
  for (; *at < pattern.size(); ++*at) {
    const char c = pattern[*at];
    if (c == '-') {
      read.left = true;
    } else if (c == '+') {
      read.spec.sign = '+';
    } else if (c == ' ') {
      if (read.spec.sign == 0) read.spec.sign = ' ';
    } else if (c == '0') {
      read.zero = true;
    } else if (c == '#') {
      read.spec.alternate = true;
    } else {
      break;
    }
  }
  ASSIGN_OR_RETURN(read.spec.width, read_number(pattern, at, operands, kMaxFormatWidth));
  if (read.spec.width < 0) {
    read.left = true;
    read.spec.width = -read.spec.width;
  }
  if (*at < pattern.size() && pattern[*at] == '.') {
    ++*at;
    ASSIGN_OR_RETURN(read.spec.precision, read_number(pattern, at, operands, kMaxFormatPrecision));
    if (read.spec.precision < 0) read.spec.precision = 0;
  }
  if (*at < pattern.size() && (pattern[*at] == 'h' || pattern[*at] == 'l' || pattern[*at] == 'L'))
    ++*at;
  if (*at >= pattern.size()) return bad_format("incomplete format");
  read.spec.type = pattern[(*at)++];
  if (read.left) read.spec.align = '<';
  return read;
}

absl::StatusOr<std::string> integer_of(const Value& value, Conversion conversion) {
  const char type = conversion.spec.type;
  const bool decimal = type == 'd' || type == 'i' || type == 'u';
  if (!value.is_number() || (!decimal && value.is_float())) {
    return bad_format(absl::StrCat("%", std::string(1, type), " format: a number is required, not ",
                                   value.type_name()));
  }
  if (value.is_float() && !(std::abs(value.number()) < 9.2e18)) {
    return bad_format("a number that does not fit a 64-bit integer");
  }
  const int64_t number =
      value.is_float() ? static_cast<int64_t>(value.number()) : *value.integral();
  if (decimal) conversion.spec.type = 'd';
  if (conversion.zero && !conversion.left) {
    conversion.spec.align = '=';
    conversion.spec.fill = "0";
  }
  return format_integer(number, conversion.spec, conversion.spec.precision);
}

absl::StatusOr<std::string> real_of(const Value& value, Conversion conversion) {
  if (!value.is_number())
    return bad_format(absl::StrCat("must be real number, not ", value.type_name()));
  if (conversion.zero && !conversion.left) {
    conversion.spec.align = '=';
    conversion.spec.fill = "0";
  }
  return format_real(value.number(), conversion.spec);
}

absl::StatusOr<std::string> character_of(const Value& value, const FormatSpec& spec) {
  if (value.is_string() && rune_count(value.text()) == 1) return aligned(value.text(), spec, '>');
  const std::optional<int64_t> code = value.integral();
  if (!code || *code < 0 || *code > 0x10ffff) return bad_format("%c requires int or char");
  std::string text;
  append_rune(text, static_cast<char32_t>(*code));
  return aligned(text, spec, '>');
}

absl::StatusOr<std::string> text_of(Budget& budget, const Value& value, const FormatSpec& spec,
                                    bool escape) {
  std::string text;
  if (spec.type == 's' && escape) {
    ASSIGN_OR_RETURN(const Value shown, escaped(budget, value));
    text = shown.text();
  } else if (spec.type == 's') {
    ASSIGN_OR_RETURN(text, to_text(budget, value));
  } else {
    ASSIGN_OR_RETURN(text, to_repr(budget, value));
    if (spec.type == 'a') text = ascii_repr(text);
    if (escape) text = escape_html(text);
  }
  return aligned(cut(text, spec.precision), spec, '>');
}

absl::StatusOr<std::string> convert(Budget& budget, const Value& value,
                                    const Conversion& conversion, bool escape) {
  switch (conversion.spec.type) {
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
      return integer_of(value, conversion);
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      return real_of(value, conversion);
    case 's':
    case 'r':
    case 'a':
      return text_of(budget, value, conversion.spec, escape);
    case 'c':
      return character_of(value, conversion.spec);
    default:
      return bad_format(absl::StrCat("unsupported format character '",
                                     std::string(1, conversion.spec.type), "'"));
  }
}

absl::StatusOr<std::string_view> read_key(std::string_view pattern, size_t* at) {
  int open = 1;
  const size_t start = ++*at;
  for (; *at < pattern.size() && open > 0; ++*at)
    open += pattern[*at] == '(' ? 1 : pattern[*at] == ')' ? -1 : 0;
  if (open > 0) return bad_format("incomplete format key");
  return pattern.substr(start, *at - start - 1);
}

}  // namespace

absl::StatusOr<Value> format_percent(Budget& budget, const Value& pattern_value,
                                     const Value& operand) {
  const std::string_view pattern = pattern_value.text();
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
      ASSIGN_OR_RETURN(key, read_key(pattern, &at));
    }
    ASSIGN_OR_RETURN(const Conversion conversion, read_conversion(pattern, &at, operands));
    if (conversion.spec.type == '%') {
      out += '%';
      continue;
    }
    ASSIGN_OR_RETURN(const Value value, key ? operands.named(*key) : operands.next());
    ASSIGN_OR_RETURN(const std::string text,
                     convert(budget, value, conversion, pattern_value.is_markup()));
    out += text;
    RETURN_IF_ERROR(budget.charge_bytes(text.size()));
    RETURN_IF_ERROR(budget.check_size(out.size()));
  }
  if (!operands.all_used()) {
    return bad_format("not all arguments converted during string formatting");
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  return text_like(pattern_value, std::move(out));
}

}  // namespace conclave::coordinator::jinja
