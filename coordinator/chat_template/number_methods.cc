// Methods and attributes of Python's int, bool and float.
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/methods.h"

namespace conclave::coordinator::jinja {
namespace {

uint64_t magnitude(const Value& self) {
  const int64_t value = *self.integral();
  return value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

absl::StatusOr<Value> bit_length(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("bit_length", arguments, {}).status());
  return Value::integer(std::bit_width(magnitude(self)));
}

absl::StatusOr<Value> bit_count(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("bit_count", arguments, {}).status());
  return Value::integer(std::popcount(magnitude(self)));
}

absl::StatusOr<Value> conjugate(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("conjugate", arguments, {}).status());
  return self.is_float() ? self : Value::integer(*self.integral());
}

absl::StatusOr<Value> is_integer(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("is_integer", arguments, {}).status());
  return Value::boolean(std::isfinite(self.number()) && std::floor(self.number()) == self.number());
}

absl::StatusOr<Value> integer_ratio(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("as_integer_ratio", arguments, {}).status());
  if (!self.is_float()) {
    return make_sequence(SequenceKind::kTuple,
                         {Value::integer(*self.integral()), Value::integer(1)});
  }
  if (!std::isfinite(self.number())) {
    return absl::InvalidArgumentError("cannot convert infinity or NaN to integer ratio");
  }
  int exponent = 0;
  double fraction = std::frexp(self.number(), &exponent);
  for (; fraction != std::floor(fraction); --exponent) fraction *= 2;
  for (; exponent > 0 && std::abs(fraction) < 0x1p62; --exponent) fraction *= 2;
  if (exponent > 0 || exponent < -62)
    return absl::InvalidArgumentError("the result does not fit a 64-bit integer");
  return make_sequence(SequenceKind::kTuple, {Value::integer(static_cast<int64_t>(fraction)),
                                              Value::integer(int64_t{1} << -exponent)});
}

using Entry = std::pair<std::string_view, Method>;
constexpr std::array<Entry, 6> kIntMethods = {{
    {"as_integer_ratio", integer_ratio},
    {"bit_count", bit_count},
    {"bit_length", bit_length},
    {"conjugate", conjugate},
    {"from_bytes", refused_method},
    {"to_bytes", refused_method},
}};
constexpr std::array<Entry, 5> kFloatMethods = {{
    {"as_integer_ratio", integer_ratio},
    {"conjugate", conjugate},
    {"fromhex", refused_method},
    {"hex", refused_method},
    {"is_integer", is_integer},
}};

}  // namespace

Method find_number_method(const Value& self, std::string_view name) {
  const auto look = [name](const auto& table) -> Method {
    for (const auto& [key, method] : table) {
      if (key == name) return method;
    }
    return nullptr;
  };
  return self.is_float() ? look(kFloatMethods) : look(kIntMethods);
}

std::optional<Value> number_attribute(const Value& self, std::string_view name) {
  const bool real = self.is_float();
  if (name == "real") return real ? self : Value::integer(*self.integral());
  if (name == "imag") return real ? Value::real(0.0) : Value::integer(0);
  if (!real && name == "numerator") return Value::integer(*self.integral());
  if (!real && name == "denominator") return Value::integer(1);
  return std::nullopt;
}

std::vector<std::string_view> number_method_names(bool of_float) {
  std::vector<std::string_view> names = {"real", "imag"};
  if (of_float) {
    for (const auto& entry : kFloatMethods) names.push_back(entry.first);
    return names;
  }
  for (const auto& entry : kIntMethods) names.push_back(entry.first);
  names.insert(names.end(), {"numerator", "denominator"});
  return names;
}

}  // namespace conclave::coordinator::jinja
