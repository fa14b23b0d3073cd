#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/predicates.h"
#include "coordinator/chat_template/subscript.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<Value>;

// The arguments after the first `count` positional ones, which the filter itself takes.
Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<ptrdiff_t>(count));
  return rest;
}

Result map_attribute(Budget& budget, std::vector<Value> elements, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("map", arguments, {"attribute", "default"}, 1));
  const Value* otherwise =
      bound.get(1) == nullptr || bound.get(1)->is_none() ? nullptr : bound.get(1);
  for (Value& element : elements) {
    ASSIGN_OR_RETURN(element, follow_path(budget, element, *bound.get(0), otherwise));
  }
  return make_sequence(SequenceKind::kIterator, std::move(elements));
}

Result map(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!input.truthy()) return make_sequence(SequenceKind::kIterator, {});
  ASSIGN_OR_RETURN(std::vector<Value> elements, elements_of(budget, input));
  if (arguments.positional.empty()) {
    if (arguments.named.empty()) {
      return absl::InvalidArgumentError("map requires a filter argument");
    }
    return map_attribute(budget, std::move(elements), arguments);
  }
  const Value& name = arguments.positional[0];
  const FilterFunction filter = name.is_string() ? find_filter(name.text()) : nullptr;
  if (filter == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "No filter named '", name.is_string() ? name.text() : name.type_name(), "'."));
  }
  const Arguments rest = without_first(arguments, 1);
  for (Value& element : elements) {
    RETURN_IF_ERROR(budget.charge_search(element.is_string() ? element.text().size() : 0, 0));
    ASSIGN_OR_RETURN(element, filter(budget, element, rest));
  }
  return make_sequence(SequenceKind::kIterator, std::move(elements));
}

// select, reject, selectattr, rejectattr.
template <bool by_attribute, bool keep_if>
Result select(Budget& budget, const Value& input, const Arguments& arguments) {
  if (!input.truthy()) return make_sequence(SequenceKind::kIterator, {});
  const size_t own = by_attribute ? 1 : 0;
  if (arguments.positional.size() < own) {
    return absl::InvalidArgumentError("Missing parameter for attribute name");
  }
  PredicateFunction test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > own) {
    const Value& name = arguments.positional[own];
    test = name.is_string() ? find_predicate(name.text()) : nullptr;
    if (test == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "No test named '", name.is_string() ? name.text() : name.type_name(), "'."));
    }
    rest = without_first(arguments, own + 1);
  }
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  std::vector<Value> kept;
  for (const Value& element : elements) {
    Value subject = element;
    if (by_attribute) {
      ASSIGN_OR_RETURN(subject, follow_path(budget, element, arguments.positional[0]));
    }
    bool holds = subject.truthy();
    if (test != nullptr) {
      ASSIGN_OR_RETURN(holds, test(budget, subject, rest));
    }
    if (holds == keep_if) kept.push_back(element);
  }
  return make_sequence(SequenceKind::kIterator, std::move(kept));
}

Result attr(Budget&, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("attr", arguments, {"name"}, 1));
  ASSIGN_OR_RETURN(const std::optional<std::string> name, bound.text(0));
  // Unlike x.name, a dict's items are not looked at.
  const bool item_only = input.as_dict() != nullptr &&
                         find_method(input, name.value_or("")) == nullptr;
  if (item_only) {
    return Value::undefined(absl::StrCat("'dict object' has no attribute '", *name, "'"));
  }
  return get_attribute(input, name.value_or(""));
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 6> kFilters = {{
    {"attr", attr},
    {"map", lazily<map>},
    {"reject", lazily<select<false, false>>},
    {"rejectattr", lazily<select<true, false>>},
    {"select", lazily<select<false, true>>},
    {"selectattr", lazily<select<true, true>>},
}};

}  // namespace

FilterTable selection_filters() { return kFilters; }

}  // namespace conclave::coordinator::jinja
