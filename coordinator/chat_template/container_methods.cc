#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/methods.h"

namespace conclave::coordinator::jinja {
namespace {

absl::StatusOr<Value> get_method(Budget&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("get", arguments, {"", ""}, 1));
  if (const Value* found = self.as_dict()->find(*bound.get(0))) return *found;
  return bound.get(1) == nullptr ? Value() : *bound.get(1);
}

template <SequenceKind view>
absl::StatusOr<Value> view_method(Budget& budget, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("dict view", arguments, {}).status());
  const Dict& dict = *self.as_dict();
  RETURN_IF_ERROR(budget.charge_bytes(dict.items().size() * sizeof(Value)));
  std::vector<Value> items;
  items.reserve(dict.items().size());
  for (const auto& [key, value] : dict.items()) {
    if (view == SequenceKind::kKeys) {
      items.push_back(key);
    } else if (view == SequenceKind::kValues) {
      items.push_back(value);
    } else {
      ASSIGN_OR_RETURN(Value pair, make_sequence(SequenceKind::kTuple, {key, value}));
      items.push_back(std::move(pair));
    }
  }
  return make_sequence(view, std::move(items));
}

// Values never change, so a copy is the value itself.
absl::StatusOr<Value> copy_method(Budget&, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("copy", arguments, {}).status());
  return self;
}

absl::StatusOr<Value> count_method(Budget& budget, const Value& self,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("count", arguments, {""}, 1));
  int64_t count = 0;
  for (const Value& item : self.as_sequence()->items) {
    ASSIGN_OR_RETURN(const bool same, equals(budget, item, *bound.get(0)));
    count += same ? 1 : 0;
  }
  return Value::integer(count);
}

absl::StatusOr<Value> index_method(Budget& budget, const Value& self,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("index", arguments, {""}, 1));
  const std::vector<Value>& items = self.as_sequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, equals(budget, items[i], *bound.get(0)));
    if (same) return Value::integer(static_cast<int64_t>(i));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the value is not in the ", self.type_name()));
}

using Entry = std::pair<std::string_view, Method>;
constexpr std::array<Entry, 5> kDictMethods = {{
    {"copy", copy_method},
    {"get", get_method},
    {"items", view_method<SequenceKind::kItems>},
    {"keys", view_method<SequenceKind::kKeys>},
    {"values", view_method<SequenceKind::kValues>},
}};
constexpr std::array<Entry, 3> kSequenceMethods = {{
    {"copy", copy_method},
    {"count", count_method},
    {"index", index_method},
}};
constexpr std::array<std::string_view, 5> kForbiddenOnDict = {"clear", "pop", "popitem",
                                                              "setdefault", "update"};
constexpr std::array<std::string_view, 8> kForbiddenOnList = {
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};

template <typename Table>
Method look_up(const Table& table, std::string_view name) {
  for (const auto& [key, method] : table) {
    if (key == name) return method;
  }
  return nullptr;
}

}  // namespace

Method find_dict_method(std::string_view name) { return look_up(kDictMethods, name); }
Method find_sequence_method(std::string_view name) { return look_up(kSequenceMethods, name); }

Method find_method(const Value& self, std::string_view name) {
  if (self.is_string()) return find_string_method(name);
  if (self.as_dict() != nullptr) return find_dict_method(name);
  const Sequence* sequence = self.as_sequence();
  if (sequence == nullptr) return nullptr;
  const bool list = sequence->kind == SequenceKind::kList;
  const bool indexed = list || sequence->kind == SequenceKind::kTuple ||
                       sequence->kind == SequenceKind::kRange;
  return indexed && (list || name != "copy") ? find_sequence_method(name) : nullptr;
}

bool is_forbidden_method(const Value& self, std::string_view name) {
  const auto any = [name](const auto& names) {
    for (std::string_view candidate : names) {
      if (candidate == name) return true;
    }
    return false;
  };
  if (self.as_dict() != nullptr) return any(kForbiddenOnDict);
  const Sequence* sequence = self.as_sequence();
  return sequence != nullptr && sequence->kind == SequenceKind::kList && any(kForbiddenOnList);
}

}  // namespace conclave::coordinator::jinja
