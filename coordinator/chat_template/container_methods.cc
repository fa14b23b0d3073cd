#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/subscript.h"

namespace conclave::coordinator::jinja {
namespace {

absl::StatusOr<Value> get_method(Budget&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("get", arguments, {"", ""}, 1));
  RETURN_IF_ERROR(check_hashable(*bound.get(0)));
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
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("index", arguments, {"", "", ""}, 1));
  const std::vector<Value>& items = self.as_sequence()->items;
  const auto length = static_cast<int64_t>(items.size());
  ASSIGN_OR_RETURN(int64_t start, bound.integer(1, 0));
  ASSIGN_OR_RETURN(int64_t stop, bound.integer(2, length));
  start = std::max<int64_t>(start < 0 ? start + length : start, 0);
  stop = std::min(stop < 0 ? stop + length : stop, length);
  for (auto i = static_cast<size_t>(start); static_cast<int64_t>(i) < stop; ++i) {
    ASSIGN_OR_RETURN(const bool same, equals(budget, items[i], *bound.get(0)));
    if (same) return Value::integer(static_cast<int64_t>(i));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the value is not in the ", self.type_name()));
}

absl::StatusOr<Value> fromkeys_method(Budget& budget, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("fromkeys", arguments, {"", ""}, 1));
  ASSIGN_OR_RETURN(const std::vector<Value> keys, elements_of(budget, *bound.get(0)));
  auto dict = std::make_shared<Dict>();
  for (const Value& key : keys) {
    RETURN_IF_ERROR(dict->insert(key, bound.get(1) == nullptr ? Value() : *bound.get(1)));
  }
  RETURN_IF_ERROR(budget.charge_bytes(keys.size() * 4 * sizeof(Value)));
  return Value::of(std::shared_ptr<const Dict>(std::move(dict)));
}

using Entry = std::pair<std::string_view, Method>;
constexpr std::array<Entry, 6> kDictMethods = {{
    {"copy", copy_method},
    {"fromkeys", fromkeys_method},
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

absl::StatusOr<Value> refused_method(Budget&, const Value& self, const Arguments&) {
  return absl::UnimplementedError(absl::StrCat(
      "this method of '", self.type_name(),
      "' makes or reads bytes or hexadecimal floats, which templates do not have here"));
}

absl::StatusOr<Value> call_method(Budget& budget, const Value& self, std::string_view name,
                                  const Arguments& arguments) {
  const Method method = find_method(self, name);
  const bool plain = !self.is_markup() || find_markup_method(name) != nullptr;
  if (plain) return method(budget, self, arguments);
  ASSIGN_OR_RETURN(const Arguments passed, markup_arguments(budget, name, arguments));
  ASSIGN_OR_RETURN(Value result, method(budget, self, passed));
  return markup_result(std::move(result));
}

std::vector<std::string_view> dict_method_names() {
  std::vector<std::string_view> names(kForbiddenOnDict.begin(), kForbiddenOnDict.end());
  for (const auto& entry : kDictMethods) names.push_back(entry.first);
  return names;
}

std::vector<std::string_view> sequence_method_names(SequenceKind kind) {
  std::vector<std::string_view> names = {"count", "index"};
  if (kind == SequenceKind::kRange) names.insert(names.end(), {"start", "stop", "step"});
  if (kind != SequenceKind::kList) return names;
  names.insert(names.end(), kForbiddenOnList.begin(), kForbiddenOnList.end());
  names.push_back("copy");
  return names;
}

Method find_method(const Value& self, std::string_view name) {
  if (self.is_markup()) {
    if (const Method method = find_markup_method(name)) return method;
  }
  if (self.is_string()) return find_string_method(name);
  if (self.is_number()) return find_number_method(self, name);
  if (self.as_dict() != nullptr) return find_dict_method(name);
  if (const Callable* function = self.as_callable(); function != nullptr && name == "fromkeys") {
    return function->kind == Callable::Kind::kGlobal && function->name == "dict" ? fromkeys_method
                                                                                 : nullptr;
  }
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
