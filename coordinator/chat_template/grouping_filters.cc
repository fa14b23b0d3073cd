// Filters that divide sequences: batch, slice, groupby; and random.
#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<Value>;

absl::StatusOr<int64_t> required_integer(const char* filter, const Value& value) {
  if (const std::optional<int64_t> number = value.integral()) return *number;
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_message());
  return absl::InvalidArgumentError(
      absl::StrCat(filter, " takes an integer, not '", value.type_name(), "'"));
}

const Value* unless_none(const Value* value) {
  return value == nullptr || value->is_none() ? nullptr : value;
}

Result batch(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("batch", arguments, {"linecount", "fill_with"}, 1));
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  ASSIGN_OR_RETURN(const int64_t size, required_integer("batch", *bound.get(0)));
  const Value* fill = unless_none(bound.get(1));
  std::vector<Value> batches;
  std::vector<Value> row;
  const auto finish = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(Value list, make_list(std::exchange(row, {})));
    batches.push_back(std::move(list));
    return absl::OkStatus();
  };
  for (const Value& element : elements) {
    if (static_cast<int64_t>(row.size()) == size) RETURN_IF_ERROR(finish());
    row.push_back(element);
  }
  if (row.empty()) return make_sequence(SequenceKind::kIterator, std::move(batches));
  if (fill != nullptr && static_cast<int64_t>(row.size()) < size) {
    if (size > static_cast<int64_t>(budget.limits().value_bytes / sizeof(Value)))
      return absl::ResourceExhaustedError("a value or the output grows too large");
    RETURN_IF_ERROR(budget.charge_bytes(static_cast<size_t>(size) * sizeof(Value)));
    row.resize(static_cast<size_t>(size), *fill);
  }
  RETURN_IF_ERROR(finish());
  return make_sequence(SequenceKind::kIterator, std::move(batches));
}

Result slice(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("slice", arguments, {"slices", "fill_with"}, 1));
  ASSIGN_OR_RETURN(const std::vector<Value> elements, elements_of(budget, input));
  ASSIGN_OR_RETURN(const int64_t slices, required_integer("slice", *bound.get(0)));
  if (slices == 0) return absl::InvalidArgumentError("integer division or modulo by zero");
  const auto length = static_cast<int64_t>(elements.size());
  const Value* fill = unless_none(bound.get(1));
  std::vector<Value> columns;
  int64_t start = 0;
  for (int64_t i = 0; i < slices; ++i) {
    RETURN_IF_ERROR(budget.charge_bytes(sizeof(Sequence)));
    RETURN_IF_ERROR(budget.check_size(columns.size() * sizeof(Sequence)));
    const bool extra = i < length % slices;
    const int64_t end = start + length / slices + (extra ? 1 : 0);
    std::vector<Value> column(elements.begin() + start, elements.begin() + end);
    if (fill != nullptr && !extra) column.push_back(*fill);
    ASSIGN_OR_RETURN(Value list, make_list(std::move(column)));
    columns.push_back(std::move(list));
    start = end;
  }
  return make_sequence(SequenceKind::kIterator, std::move(columns));
}

Result make_group(Value key, std::vector<Value> members) {
  ASSIGN_OR_RETURN(Value list, make_list(std::move(members)));
  ASSIGN_OR_RETURN(Value group,
                   make_sequence(SequenceKind::kTuple, {std::move(key), std::move(list)}));
  group.as_sequence()->group = true;
  return group;
}

// Sorted by the attribute, then one group for each value; its name is that of its first member.
Result groupby(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  ASSIGN_OR_RETURN(std::vector<Value> items, elements_of(budget, input));
  const Value* otherwise = unless_none(bound.get(1));
  const auto key_of = [&](const Value& item, bool folded) -> Result {
    ASSIGN_OR_RETURN(Value key, follow_path(budget, item, *bound.get(0), otherwise));
    return folded && key.is_string() ? Value::string(to_lower(key.text())) : key;
  };
  const bool folded = !bound.truthy(2, false);
  std::vector<Value> keys;
  for (const Value& item : items) {
    ASSIGN_OR_RETURN(Value key, key_of(item, folded));
    keys.push_back(std::move(key));
  }
  ASSIGN_OR_RETURN(items, sort_by_key(budget, std::move(items), keys, false));
  std::vector<Value> groups;
  std::vector<Value> members;
  Value current;
  for (size_t i = 0; i <= items.size(); ++i) {
    Value key;
    bool same = false;
    if (i < items.size()) {
      ASSIGN_OR_RETURN(key, key_of(items[i], folded));
      ASSIGN_OR_RETURN(same, equals(budget, key, current));
    }
    if (!members.empty() && !same) {
      ASSIGN_OR_RETURN(Value name, key_of(members.front(), false));
      ASSIGN_OR_RETURN(Value group, make_group(std::move(name), std::exchange(members, {})));
      groups.push_back(std::move(group));
    }
    if (i < items.size()) members.push_back(items[i]);
    current = std::move(key);
  }
  return make_list(std::move(groups));
}

Result random_item(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("random", arguments, {}).status());
  const std::optional<int64_t> length = length_of(input);
  if (!length || input.as_dict() != nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("random cannot choose from '", input.type_name(), "'"));
  }
  if (*length == 0) return Value::undefined("No random item, sequence was empty.");
  std::random_device device;
  return get_item(budget, input,
                  Value::integer(std::uniform_int_distribution<int64_t>(0, *length - 1)(device)));
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 4> kFilters = {{
    {"batch", lazily<batch>},
    {"groupby", groupby},
    {"random", random_item},
    {"slice", lazily<slice>},
}};

}  // namespace

FilterTable grouping_filters() { return kFilters; }

}  // namespace conclave::coordinator::jinja
