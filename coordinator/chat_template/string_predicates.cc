#include <array>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

bool is_ascii(char32_t c) { return c < 0x80; }

// True if every code point is of the class; of an empty text: `empty`.
template <bool (*belongs)(char32_t), bool empty = false>
absl::StatusOr<Value> every(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("string predicate", arguments, {}).status());
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    if (!belongs(rune.code_point)) return Value::boolean(false);
    rest.remove_prefix(rune.bytes);
  }
  return Value::boolean(empty || !self.text().empty());
}

absl::StatusOr<Value> is_identifier(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("isidentifier", arguments, {}).status());
  bool first = true;
  for (std::string_view rest = self.text(); !rest.empty(); first = false) {
    const DecodedRune rune = decode_rune(rest);
    const bool fits =
        first ? is_identifier_start(rune.code_point) : is_identifier_part(rune.code_point);
    if (!fits) return Value::boolean(false);
    rest.remove_prefix(rune.bytes);
  }
  return Value::boolean(!first);
}

// Capitals start words and small letters go on, and there is one of them.
absl::StatusOr<Value> is_titled(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("istitle", arguments, {}).status());
  bool inside_word = false;
  bool found = false;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    const bool capital = is_upper(rune.code_point) || is_title(rune.code_point);
    const bool small = is_lower(rune.code_point);
    if ((capital && inside_word) || (small && !inside_word)) return Value::boolean(false);
    inside_word = capital || small;
    found = found || inside_word;
    rest.remove_prefix(rune.bytes);
  }
  return Value::boolean(found);
}

// True if there is a letter of the wanted case and none of another.
template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
absl::StatusOr<Value> cased(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("string predicate", arguments, {}).status());
  bool found = false;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    if (other(rune.code_point) || is_title(rune.code_point)) return Value::boolean(false);
    found = found || wanted(rune.code_point);
    rest.remove_prefix(rune.bytes);
  }
  return Value::boolean(found);
}

constexpr std::array<std::pair<std::string_view, Method>, 12> kPredicates = {{
    {"isalnum", every<is_alnum>},
    {"isalpha", every<is_alpha>},
    {"isascii", every<is_ascii, true>},
    {"isdecimal", every<is_decimal>},
    {"isdigit", every<is_digit>},
    {"isidentifier", is_identifier},
    {"islower", cased<is_lower, is_upper>},
    {"isnumeric", every<is_numeric>},
    {"isprintable", every<is_printable, true>},
    {"isspace", every<is_space>},
    {"istitle", is_titled},
    {"isupper", cased<is_upper, is_lower>},
}};

}  // namespace

Method find_string_predicate(std::string_view name) {
  for (const auto& [key, method] : kPredicates) {
    if (key == name) return method;
  }
  return nullptr;
}

std::vector<std::string_view> string_predicate_names() {
  std::vector<std::string_view> names;
  for (const auto& entry : kPredicates) names.push_back(entry.first);
  return names;
}

}  // namespace conclave::coordinator::jinja
