#include "coordinator/chat_template/arithmetic.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/string_format.h"

namespace conclave::coordinator::jinja {
namespace {

const char* symbol(Arithmetic op) {
  switch (op) {
    case Arithmetic::kAdd:
      return "+";
    case Arithmetic::kSubtract:
      return "-";
    case Arithmetic::kMultiply:
      return "*";
    case Arithmetic::kDivide:
      return "/";
    case Arithmetic::kFloorDivide:
      return "//";
    case Arithmetic::kModulo:
      return "%";
    case Arithmetic::kPower:
      return "** or pow()";
  }
  return "+";
}

absl::Status division_by_zero() { return absl::InvalidArgumentError("division by zero"); }
absl::Status overflow() {
  return absl::InvalidArgumentError("the result does not fit a 64-bit integer");
}

absl::StatusOr<Value> integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return division_by_zero();
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (bool squared_fits = true; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) {
      if (!squared_fits || __builtin_mul_overflow(result, base, &result)) return overflow();
    }
    if (squared_fits) squared_fits = !__builtin_mul_overflow(base, base, &base);
  }
  return Value::integer(result);
}

__extension__ using Wide = unsigned __int128;

// Rounded once, also where the operands have more digits than a double.
double divide(int64_t a, int64_t b) {
  constexpr int64_t kExact = int64_t{1} << 53;
  const auto small = [](int64_t value) { return value <= kExact && value >= -kExact; };
  if (small(a) && small(b)) return static_cast<double>(a) / static_cast<double>(b);
  Wide dividend = a < 0 ? 0 - static_cast<uint64_t>(a) : static_cast<uint64_t>(a);
  const Wide divisor = b < 0 ? 0 - static_cast<uint64_t>(b) : static_cast<uint64_t>(b);
  int shift = 0;
  for (; dividend != 0 && (dividend >> 126) == 0; ++shift) dividend <<= 1;
  const Wide quotient = dividend / divisor;
  // The lowest bit, far below what is kept, stands for the rest.
  const Wide sticky = dividend % divisor != 0 ? quotient | 1 : quotient;
  const double magnitude = std::ldexp(static_cast<double>(sticky), -shift);
  return (a < 0) != (b < 0) ? -magnitude : magnitude;
}

absl::StatusOr<Value> integer_arithmetic(Arithmetic op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Arithmetic::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return overflow();
      return Value::integer(result);
    case Arithmetic::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return overflow();
      return Value::integer(result);
    case Arithmetic::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return overflow();
      return Value::integer(result);
    case Arithmetic::kDivide:
      if (b == 0) return division_by_zero();
      return Value::real(divide(a, b));
    case Arithmetic::kFloorDivide:
      if (b == 0) return absl::InvalidArgumentError("integer division or modulo by zero");
      if (b == -1) return integer_arithmetic(Arithmetic::kSubtract, 0, a);
      return Value::integer(a / b - ((a % b != 0) && ((a < 0) != (b < 0)) ? 1 : 0));
    case Arithmetic::kModulo:
      if (b == 0) return absl::InvalidArgumentError("integer division or modulo by zero");
      if (b == -1) return Value::integer(0);
      result = a % b;
      return Value::integer(result != 0 && ((result < 0) != (b < 0)) ? result + b : result);
    case Arithmetic::kPower:
      return integer_power(a, b);
  }
  return overflow();
}

// Python's float % takes the divisor's sign.
double float_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0.0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

// Derived from the remainder, as a / b rounds before floor() could see it.
double float_floor_divide(double a, double b) {
  const double quotient = (a - float_modulo(a, b)) / b;
  if (quotient == 0.0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1.0 : floored;
}

absl::StatusOr<Value> float_arithmetic(Arithmetic op, double a, double b) {
  switch (op) {
    case Arithmetic::kAdd:
      return Value::real(a + b);
    case Arithmetic::kSubtract:
      return Value::real(a - b);
    case Arithmetic::kMultiply:
      return Value::real(a * b);
    case Arithmetic::kDivide:
      if (b == 0.0) return absl::InvalidArgumentError("float division by zero");
      return Value::real(a / b);
    case Arithmetic::kFloorDivide:
      if (b == 0.0) return absl::InvalidArgumentError("float floor division by zero");
      return Value::real(float_floor_divide(a, b));
    case Arithmetic::kModulo:
      if (b == 0.0) return absl::InvalidArgumentError("float modulo");
      return Value::real(float_modulo(a, b));
    case Arithmetic::kPower: {
      if (a == 0.0 && b < 0.0) return division_by_zero();
      const double power = std::pow(a, b);
      if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) {
        return absl::InvalidArgumentError("a root of a negative number is not supported");
      }
      if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) return overflow();
      return Value::real(power);
    }
  }
  return overflow();
}

absl::StatusOr<Value> repeat(Budget& budget, const Value& unit, int64_t times) {
  const size_t count = times > 0 ? static_cast<size_t>(times) : 0;
  const Sequence* sequence = unit.as_sequence();
  const size_t size = sequence != nullptr ? sequence->items.size() * sizeof(Value)
                                          : unit.text().size();
  if (size != 0 && count > budget.limits().value_bytes / size) {
    return budget.charge_bytes(std::numeric_limits<size_t>::max());
  }
  RETURN_IF_ERROR(budget.charge_bytes(size * count));
  if (sequence == nullptr) {
    std::string text;
    text.reserve(size * count);
    for (size_t i = 0; size != 0 && i < count; ++i) text += unit.text();
    return text_like(unit, std::move(text));
  }
  std::vector<Value> items;
  for (size_t i = 0; size != 0 && i < count; ++i) {
    items.insert(items.end(), sequence->items.begin(), sequence->items.end());
  }
  return make_sequence(sequence->kind, std::move(items));
}

bool is_concrete_sequence(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  return sequence != nullptr &&
         (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple);
}

absl::Status unsupported(Arithmetic op, const Value& a, const Value& b) {
  if (a.is_undefined()) return absl::InvalidArgumentError(a.undefined_message());
  if (b.is_undefined()) return absl::InvalidArgumentError(b.undefined_message());
  if (op == Arithmetic::kAdd && (a.is_string() || is_concrete_sequence(a))) {
    const std::string type = a.type_name();
    return absl::InvalidArgumentError(absl::StrCat("can only concatenate ", type, " (not \"",
                                                   b.type_name(), "\") to ", type));
  }
  return absl::InvalidArgumentError(absl::StrCat("unsupported operand type(s) for ", symbol(op),
                                                 ": '", a.type_name(), "' and '", b.type_name(),
                                                 "'"));
}

absl::StatusOr<Value> concatenate(Budget& budget, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    RETURN_IF_ERROR(budget.charge_bytes(a.text().size() + b.text().size()));
    if (a.is_markup() || b.is_markup()) {
      ASSIGN_OR_RETURN(const Value left, escaped(budget, a));
      ASSIGN_OR_RETURN(const Value right, escaped(budget, b));
      return Value::markup(absl::StrCat(left.text(), right.text()));
    }
    return Value::string(absl::StrCat(a.text(), b.text()));
  }
  const Sequence& left = *a.as_sequence();
  const Sequence& right = *b.as_sequence();
  RETURN_IF_ERROR(
      budget.charge_bytes((left.items.size() + right.items.size()) * sizeof(Value)));
  std::vector<Value> items = left.items;
  items.insert(items.end(), right.items.begin(), right.items.end());
  return make_sequence(left.kind, std::move(items));
}

}  // namespace

absl::StatusOr<Value> apply_arithmetic(Budget& budget, Arithmetic op, const Value& a,
                                       const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return float_arithmetic(op, a.number(), b.number());
    return integer_arithmetic(op, *a.integral(), *b.integral());
  }
  const bool same_sequences = is_concrete_sequence(a) && is_concrete_sequence(b) &&
                              a.as_sequence()->kind == b.as_sequence()->kind;
  if (op == Arithmetic::kAdd && ((a.is_string() && b.is_string()) || same_sequences)) {
    return concatenate(budget, a, b);
  }
  if (op == Arithmetic::kMultiply) {
    if ((a.is_string() || is_concrete_sequence(a)) && b.integral()) {
      return repeat(budget, a, *b.integral());
    }
    if ((b.is_string() || is_concrete_sequence(b)) && a.integral()) {
      return repeat(budget, b, *a.integral());
    }
  }
  if (op == Arithmetic::kModulo && a.is_string()) {
    return format_percent(budget, a, b);
  }
  return unsupported(op, a, b);
}

absl::StatusOr<Value> apply_sign(bool negative, const Value& operand) {
  if (operand.is_undefined()) return absl::InvalidArgumentError(operand.undefined_message());
  if (operand.is_float()) return Value::real(negative ? -operand.number() : operand.number());
  if (const std::optional<int64_t> number = operand.integral()) {
    if (!negative) return Value::integer(*number);
    return integer_arithmetic(Arithmetic::kSubtract, 0, *number);
  }
  return absl::InvalidArgumentError(absl::StrCat("bad operand type for unary ",
                                                 negative ? "-" : "+", ": '",
                                                 operand.type_name(), "'"));
}

}  // namespace conclave::coordinator::jinja
