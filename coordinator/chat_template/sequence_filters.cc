#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/arithmetic.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<Value>;

Value folded_case(const Value& value) {
  return value.is_string() ? Value::string(to_lower(value.text())) : value;
}

// What sort, unique, min and max compare: the item or its attribute, lower case unless told.
Result sort_key(Budget& budget, const Value& item, const Value* path, bool case_sensitive) {
  Value key = item;
  if (path != nullptr && !path->is_none()) {
    ASSIGN_OR_RETURN(key, follow_path(budget, item, *path));
  }
  return case_sensitive ? key : folded_case(key);
}

// sort() alone takes several paths, separated by commas; it compares lists, so that two undefined or
// None are equal and not an error.
Result multi_key(Budget& budget, const Value& item, const Value* path, bool case_sensitive) {
  std::vector<Value> keys;
  if (path == nullptr || !path->is_string()) {
    ASSIGN_OR_RETURN(Value key, sort_key(budget, item, path, case_sensitive));
    keys.push_back(std::move(key));
    return make_list(std::move(keys));
  }
  std::string_view rest = path->text();
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    more = comma != std::string_view::npos;
    const Value one = Value::string(rest.substr(0, comma));
    if (more) rest.remove_prefix(comma + 1);
    ASSIGN_OR_RETURN(Value key, sort_key(budget, item, &one, case_sensitive));
    keys.push_back(std::move(key));
  }
  return make_list(std::move(keys));
}

Result sort(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(std::vector<Value> items, elements_of(budget, input));
  std::vector<Value> keys;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(Value key, multi_key(budget, item, bound.get(2), bound.truthy(1, false)));
    keys.push_back(std::move(key));
  }
  ASSIGN_OR_RETURN(const int64_t reversed, bound.integer(0, 0));
  ASSIGN_OR_RETURN(items, sort_by_key(budget, std::move(items), keys, reversed != 0));
  return make_list(std::move(items));
}

Result pair_of(const Dict::Item& item) {
  return make_sequence(SequenceKind::kTuple, {item.first, item.second});
}

absl::StatusOr<const Dict*> required_dict(const char* filter, const Value& input) {
  if (input.is_undefined()) return absl::InvalidArgumentError(input.undefined_message());
  if (const Dict* dict = input.as_dict()) return dict;
  return absl::InvalidArgumentError(
      absl::StrCat(filter, " takes a mapping, not '", input.type_name(), "'"));
}

Result dictsort(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  ASSIGN_OR_RETURN(const std::optional<std::string> by, bound.text(1));
  if (by.value_or("key") != "key" && by.value_or("key") != "value") {
    return absl::InvalidArgumentError("You can only sort by either \"key\" or \"value\"");
  }
  ASSIGN_OR_RETURN(const Dict* dict, required_dict("dictsort", input));
  std::vector<Value> pairs;
  std::vector<Value> keys;
  for (const Dict::Item& item : dict->items()) {
    ASSIGN_OR_RETURN(Value pair, pair_of(item));
    pairs.push_back(std::move(pair));
    const Value& key = by.value_or("key") == "key" ? item.first : item.second;
    keys.push_back(bound.truthy(0, false) ? key : folded_case(key));
  }
  ASSIGN_OR_RETURN(const int64_t reversed, bound.integer(2, 0));
  ASSIGN_OR_RETURN(pairs, sort_by_key(budget, std::move(pairs), keys, reversed != 0));
  return make_list(std::move(pairs));
}

Result items(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("items", arguments, {}).status());
  std::vector<Value> pairs;
  if (!input.is_undefined()) {
    ASSIGN_OR_RETURN(const Dict* dict, required_dict("items", input));
    RETURN_IF_ERROR(budget.charge_bytes(dict->items().size() * 3 * sizeof(Value)));
    for (const Dict::Item& item : dict->items()) {
      ASSIGN_OR_RETURN(Value pair, pair_of(item));
      pairs.push_back(std::move(pair));
    }
  }
  return make_sequence(SequenceKind::kIterator, std::move(pairs));
}

Result list(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("list", arguments, {}).status());
  ASSIGN_OR_RETURN(std::vector<Value> elements, elements_of(budget, input));
  return make_list(std::move(elements));
}

Result first(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("first", arguments, {}).status());
  if (Sequence* iterator = input.as_sequence();
      iterator != nullptr && iterator->kind == SequenceKind::kIterator && !iterator->consumed &&
      !iterator->items.empty()) {
    RETURN_IF_ERROR(budget.charge_steps(iterator->items.size() / 64));
    Value head = iterator->items.front();
    iterator->items.erase(iterator->items.begin());
    return head;
  }
  if (input.is_string() && !input.text().empty()) {
    return Value::string(input.text().substr(0, decode_rune(input.text()).bytes));
  }
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  return elements.empty() ? Value::undefined("No first item, sequence was empty.")
                          : elements.front();
}

Result last(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("last", arguments, {}).status());
  const Sequence* sequence = input.as_sequence();
  if (sequence != nullptr && sequence->kind == SequenceKind::kIterator) {
    return absl::InvalidArgumentError("'generator' object is not reversible");
  }
  if (input.is_string() && !input.text().empty())
    return get_item(budget, input, Value::integer(-1));
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  return elements.empty() ? Value::undefined("No last item, sequence was empty.")
                          : elements.back();
}

Result reverse(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("reverse", arguments, {}).status());
  if (input.is_string()) return get_slice(budget, input, SliceBounds{.step = -1});
  ASSIGN_OR_RETURN(std::vector<Value> elements, elements_of(budget, input));
  std::reverse(elements.begin(), elements.end());
  return make_sequence(SequenceKind::kIterator, std::move(elements));
}

Result unique(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("unique", arguments, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  std::unordered_set<std::string> texts;
  std::vector<Value> others;
  std::vector<Value> kept;
  for (const Value& element : elements) {
    ASSIGN_OR_RETURN(const Value key,
                     sort_key(budget, element, bound.get(1), bound.truthy(0, false)));
    bool seen = false;
    if (key.is_string()) {
      seen = !texts.insert(key.text()).second;
    } else {
      RETURN_IF_ERROR(check_hashable(key));
      for (const Value& other : others) {
        ASSIGN_OR_RETURN(seen, equals(budget, other, key));
        if (seen) break;
      }
      if (!seen) others.push_back(key);
    }
    if (!seen) kept.push_back(element);
  }
  return make_sequence(SequenceKind::kIterator, std::move(kept));
}

template <bool largest>
Result extreme(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("min", arguments, {"case_sensitive", "attribute"}));
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  if (elements.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < elements.size(); ++i) {
    ASSIGN_OR_RETURN(Value key,
                     sort_key(budget, elements[i], bound.get(1), bound.truthy(0, false)));
    bool better = i == 0;
    if (!better) {
      const Ordering ordering = largest ? Ordering::kGreater : Ordering::kLess;
      ASSIGN_OR_RETURN(better, ordered(budget, ordering, key, best_key));
    }
    if (!better) continue;
    best = i;
    best_key = std::move(key);
  }
  return elements[best];
}

Result sum(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("sum", arguments, {"attribute", "start"}));
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  Value total = bound.get(1) == nullptr ? Value::integer(0) : *bound.get(1);
  if (total.is_string()) return absl::InvalidArgumentError("sum() can't sum strings");
  for (const Value& element : elements) {
    ASSIGN_OR_RETURN(const Value value, sort_key(budget, element, bound.get(0), true));
    ASSIGN_OR_RETURN(total, apply_arithmetic(budget, Arithmetic::kAdd, total, value));
  }
  return total;
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 11> kFilters = {{
    {"dictsort", dictsort},
    {"first", first},
    {"items", lazily<items>},
    {"last", last},
    {"list", list},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reverse", reverse},
    {"sort", sort},
    {"sum", sum},
    {"unique", lazily<unique>},
}};

}  // namespace

FilterTable sequence_filters() { return kFilters; }

}  // namespace conclave::coordinator::jinja
