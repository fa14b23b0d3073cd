#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/literals.h"
#include "coordinator/chat_template/subscript.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<Value>;

constexpr int64_t kMaxRoundDigits = 300;
constexpr double kInt64Range = 9223372036854775808.0;

Result default_value(Budget&, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("default", arguments, {"default_value", "boolean"}));
  const bool replaced = input.is_undefined() || (bound.truthy(1, false) && !input.truthy());
  if (!replaced) return input;
  return bound.get(0) == nullptr ? Value::string("") : *bound.get(0);
}

Result length(Budget&, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("length", arguments, {}).status());
  if (const std::optional<int64_t> count = length_of(input)) return Value::integer(*count);
  return absl::InvalidArgumentError(
      absl::StrCat("object of type '", input.type_name(), "' has no len()"));
}

std::optional<int64_t> truncated(double value) {
  if (std::isnan(value) || std::abs(value) >= kInt64Range) return std::nullopt;
  return static_cast<int64_t>(value);
}

Result to_int(Budget&, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("int", arguments, {"default", "base"}));
  ASSIGN_OR_RETURN(const int64_t base, bound.integer(1, 10));
  if (input.is_undefined()) return absl::InvalidArgumentError(input.undefined_message());
  std::optional<int64_t> value = input.integral();
  std::optional<double> real;
  bool beyond = false;
  if (input.is_float()) {
    if (std::isinf(input.number()))
      return absl::InvalidArgumentError("cannot convert float infinity to integer");
    real = input.number();
  }
  if (input.is_string()) {
    const int checked = base == 0 || (base >= 2 && base <= 36) ? static_cast<int>(base) : -1;
    value = parse_python_int(input.text(), checked, &beyond);
    if (!value) real = parse_python_float(input.text());
  }
  if (real && std::isfinite(*real)) {
    value = truncated(*real);
    beyond = !value;
  }
  if (beyond) return absl::InvalidArgumentError("the result does not fit a 64-bit integer");
  if (value) return Value::integer(*value);
  return bound.get(0) == nullptr ? Value::integer(0) : *bound.get(0);
}

Result to_float(Budget&, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("float", arguments, {"default"}));
  if (input.is_undefined()) return absl::InvalidArgumentError(input.undefined_message());
  if (input.is_number()) return Value::real(input.number());
  if (input.is_string()) {
    if (const std::optional<double> real = parse_python_float(input.text())) {
      return Value::real(*real);
    }
  }
  return bound.get(0) == nullptr ? Value::real(0.0) : *bound.get(0);
}

Result absolute(Budget&, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("abs", arguments, {}).status());
  if (input.is_float()) return Value::real(std::abs(input.number()));
  const std::optional<int64_t> value = input.integral();
  if (!value) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad operand type for abs(): '", input.type_name(), "'"));
  }
  int64_t result = *value;
  if (*value < 0 && __builtin_sub_overflow(int64_t{0}, *value, &result)) {
    return absl::InvalidArgumentError("the result does not fit a 64-bit integer");
  }
  return Value::integer(result);
}

// Python's round(): the decimal nearest to the exact binary value, ties to even.
double round_common(double value, int64_t digits) {
  if (digits >= 0) {
    char text[1024];
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), value);
    return std::strtod(text, nullptr);
  }
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

__extension__ using Wide = __int128;

// To a multiple of 10^zeros, ties to even.
Result round_integer(int64_t value, int64_t zeros) {
  if (zeros > 19) return Value::integer(0);
  Wide unit = 1;
  for (int64_t i = 0; i < zeros; ++i) unit *= 10;
  Wide quotient = value / unit;
  const Wide rest = value % unit;
  const Wide twice = 2 * (rest < 0 ? -rest : rest);
  if (twice > unit || (twice == unit && quotient % 2 != 0)) quotient += value < 0 ? -1 : 1;
  const Wide rounded = quotient * unit;
  if (rounded > std::numeric_limits<int64_t>::max() ||
      rounded < std::numeric_limits<int64_t>::min()) {
    return absl::InvalidArgumentError("the result does not fit a 64-bit integer");
  }
  return Value::integer(static_cast<int64_t>(rounded));
}

Result round_number(Budget&, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("round", arguments, {"precision", "method"}));
  ASSIGN_OR_RETURN(const int64_t digits, bound.integer(0, 0));
  ASSIGN_OR_RETURN(const std::optional<std::string> given, bound.text(1));
  const std::string method = given.value_or("common");
  if (method != "common" && method != "ceil" && method != "floor") {
    return absl::InvalidArgumentError("method must be common, ceil or floor");
  }
  if (!input.is_number()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot round '", input.type_name(), "'"));
  }
  if (std::abs(digits) > kMaxRoundDigits) {
    return absl::InvalidArgumentError("round: too many digits");
  }
  if (method == "common") {
    if (input.is_float()) return Value::real(round_common(input.number(), digits));
    if (digits >= 0) return Value::integer(*input.integral());
    return round_integer(*input.integral(), -digits);
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = input.number() * scale;
  // Python's ceil() is an integer: there is no negative zero.
  return Value::real(((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) + 0.0) / scale);
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 8> kFilters = {{
    {"abs", absolute},
    {"count", length},
    {"d", default_value},
    {"default", default_value},
    {"float", to_float},
    {"int", to_int},
    {"length", length},
    {"round", round_number},
}};

}  // namespace

FilterTable scalar_filters() { return kFilters; }

}  // namespace conclave::coordinator::jinja
