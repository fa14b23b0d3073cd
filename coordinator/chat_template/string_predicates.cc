#include <array>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

bool is_alphanumeric(char32_t c) { return is_alpha(c) || is_digit(c); }

// True if there is text and every code point is of the class.
template <bool (*belongs)(char32_t)>
absl::StatusOr<Value> every(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("string predicate", arguments, {}).status());
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    if (!belongs(rune.code_point)) return Value::boolean(false);
    rest.remove_prefix(rune.bytes);
  }
  return Value::boolean(!self.text().empty());
}

// True if there is a letter of the wanted case and none of the other.
template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
absl::StatusOr<Value> cased(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("string predicate", arguments, {}).status());
  bool found = false;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    if (other(rune.code_point)) return Value::boolean(false);
    found = found || wanted(rune.code_point);
    rest.remove_prefix(rune.bytes);
  }
  return Value::boolean(found);
}

constexpr std::array<std::pair<std::string_view, Method>, 8> kPredicates = {{
    {"isalnum", every<is_alphanumeric>},
    {"isalpha", every<is_alpha>},
    {"isdecimal", every<is_digit>},
    {"isdigit", every<is_digit>},
    {"islower", cased<is_lower, is_upper>},
    {"isnumeric", every<is_digit>},
    {"isspace", every<is_space>},
    {"isupper", cased<is_upper, is_lower>},
}};

}  // namespace

Method find_string_predicate(std::string_view name) {
  for (const auto& [key, method] : kPredicates) {
    if (key == name) return method;
  }
  return nullptr;
}

}  // namespace conclave::coordinator::jinja
