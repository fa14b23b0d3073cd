#include "coordinator/chat_template/predicates.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/arithmetic.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<bool>;

bool is_sequence(const Value& value) {
  if (value.is_undefined() || value.is_string() || value.as_dict() != nullptr) return true;
  const Sequence* sequence = value.as_sequence();
  return sequence != nullptr &&
         (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple ||
          sequence->kind == SequenceKind::kRange);
}

// Tests that only look at the value.
template <bool (*check)(const Value&)>
Result simple(Budget&, const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("test", arguments, {}).status());
  return check(subject);
}

bool defined(const Value& value) { return !value.is_undefined(); }
bool undefined(const Value& value) { return value.is_undefined(); }
bool none(const Value& value) { return value.is_none(); }
bool boolean(const Value& value) { return value.is_bool(); }
bool is_true(const Value& value) { return value.is_bool() && value.truthy(); }
bool is_false(const Value& value) { return value.is_bool() && !value.truthy(); }
bool integer(const Value& value) { return value.is_int(); }
bool real(const Value& value) { return value.is_float(); }
bool number(const Value& value) { return value.is_number(); }
bool text(const Value& value) { return value.is_string(); }
bool mapping(const Value& value) { return value.as_dict() != nullptr; }
// Undefined defines __call__, so Python takes it for callable.
bool callable(const Value& value) { return value.as_callable() != nullptr || value.is_undefined(); }
bool is_escaped(const Value& value) { return value.is_markup(); }
// Whether the name is in a table, where Python looks it up.
template <bool filter>
Result known_name(Budget&, const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("test", arguments, {}).status());
  RETURN_IF_ERROR(check_hashable(subject));
  if (!subject.is_string()) return false;
  return filter ? find_filter(subject.text()) != nullptr
                : find_predicate(subject.text()) != nullptr;
}

template <int64_t remainder>
Result parity(Budget& budget, const Value& subject, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("odd or even", arguments, {}).status());
  ASSIGN_OR_RETURN(const Value rest, apply_arithmetic(budget, Arithmetic::kModulo, subject,
                                                      Value::integer(2)));
  return equals(budget, rest, Value::integer(remainder));
}

Result divisible_by(Budget& budget, const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("divisibleby", arguments, {"num"}, 1));
  ASSIGN_OR_RETURN(const Value rest,
                   apply_arithmetic(budget, Arithmetic::kModulo, subject, *bound.get(0)));
  return equals(budget, rest, Value::integer(0));
}

Result same_as(Budget&, const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("sameas", arguments, {"other"}, 1));
  return subject.same_as(*bound.get(0));
}

Result inside(Budget& budget, const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("in", arguments, {"seq"}, 1));
  return contains(budget, *bound.get(0), subject);
}

template <bool wanted>
Result equality(Budget& budget, const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("eq", arguments, {""}, 1));
  ASSIGN_OR_RETURN(const bool same, equals(budget, subject, *bound.get(0)));
  return same == wanted;
}

template <Ordering ordering>
Result order(Budget& budget, const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("order", arguments, {""}, 1));
  return ordered(budget, ordering, subject, *bound.get(0));
}

template <bool upper>
Result letter_case(Budget& budget, const Value& subject, const Arguments& arguments) {
  ASSIGN_OR_RETURN(std::string shown, to_text(budget, subject));
  const Method method = find_string_predicate(upper ? "isupper" : "islower");
  ASSIGN_OR_RETURN(const Value result, method(budget, Value::string(std::move(shown)), arguments));
  return result.truthy();
}

using Entry = std::pair<std::string_view, PredicateFunction>;
constexpr std::array<Entry, 39> kPredicates = {{
    {"!=", equality<false>},
    {"<", order<Ordering::kLess>},
    {"<=", order<Ordering::kLessEqual>},
    {"==", equality<true>},
    {">", order<Ordering::kGreater>},
    {">=", order<Ordering::kGreaterEqual>},
    {"boolean", simple<boolean>},
    {"callable", simple<callable>},
    {"defined", simple<defined>},
    {"divisibleby", divisible_by},
    {"eq", equality<true>},
    {"equalto", equality<true>},
    {"escaped", simple<is_escaped>},
    {"even", parity<0>},
    {"false", simple<is_false>},
    {"filter", known_name<true>},
    {"float", simple<real>},
    {"ge", order<Ordering::kGreaterEqual>},
    {"greaterthan", order<Ordering::kGreater>},
    {"gt", order<Ordering::kGreater>},
    {"in", inside},
    {"integer", simple<integer>},
    {"iterable", simple<is_iterable>},
    {"le", order<Ordering::kLessEqual>},
    {"lessthan", order<Ordering::kLess>},
    {"lower", letter_case<false>},
    {"lt", order<Ordering::kLess>},
    {"mapping", simple<mapping>},
    {"ne", equality<false>},
    {"none", simple<none>},
    {"number", simple<number>},
    {"odd", parity<1>},
    {"sameas", same_as},
    {"sequence", simple<is_sequence>},
    {"string", simple<text>},
    {"test", known_name<false>},
    {"true", simple<is_true>},
    {"undefined", simple<undefined>},
    {"upper", letter_case<true>},
}};

}  // namespace

std::vector<std::string_view> predicate_names() {
  std::vector<std::string_view> names;
  for (const auto& entry : kPredicates) names.push_back(entry.first);
  return names;
}

PredicateFunction find_predicate(std::string_view name) {
  for (const auto& [key, predicate] : kPredicates) {
    if (key == name) return predicate;
  }
  return nullptr;
}

}  // namespace conclave::coordinator::jinja
