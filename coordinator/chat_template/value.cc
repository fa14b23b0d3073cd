#include "coordinator/chat_template/value.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/loop_state.h"

namespace conclave::coordinator::jinja {
namespace {

absl::Status too_deep() {
  return absl::InvalidArgumentError(
      absl::StrCat("values nest deeper than ", kMaxValueDepth, " levels"));
}

const char* sequence_type(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::kList:
      return "list";
    case SequenceKind::kTuple:
      return "tuple";
    case SequenceKind::kRange:
      return "range";
    case SequenceKind::kKeys:
      return "dict_keys";
    case SequenceKind::kValues:
      return "dict_values";
    case SequenceKind::kItems:
      return "dict_items";
    case SequenceKind::kIterator:
      return "generator";
  }
  return "list";
}

}  // namespace

Value Value::undefined(std::string message) {
  return Value(Data(Undefined{std::make_shared<const std::string>(std::move(message))}));
}

Value Value::string(std::string value) {
  return Value(Data(std::make_shared<const std::string>(std::move(value))));
}

Value Value::markup(std::string value) {
  return Value(Data(std::make_shared<const Markup>(Markup{std::move(value)})));
}

double Value::number() const {
  if (is_float()) return std::get<double>(data_);
  return static_cast<double>(integral().value_or(0));
}

std::optional<int64_t> Value::integral() const {
  if (const bool* value = std::get_if<bool>(&data_)) return *value ? 1 : 0;
  if (const int64_t* value = std::get_if<int64_t>(&data_)) return *value;
  return std::nullopt;
}

const std::string& Value::undefined_message() const {
  return *std::get_if<Undefined>(&data_)->message;
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return number() != 0.0;
  if (is_string()) return !text().empty();
  if (const Sequence* sequence = as_sequence()) {
    return sequence->kind == SequenceKind::kIterator || !sequence->items.empty();
  }
  if (const Dict* dict = as_dict()) return !dict->items().empty();
  return true;
}

bool Value::same_as(const Value& other) const {
  if (is_string() && other.is_string())
    return is_markup() == other.is_markup() && text() == other.text();
  if (data_.index() != other.data_.index()) return false;
  if (is_none() || is_undefined()) return is_none();
  if (is_float()) return number() == other.number();
  if (is_number()) return integral() == other.integral();
  const auto address = [](const Value& value) -> const void* {
    if (const void* found = value.as_sequence()) return found;
    if (const void* found = value.as_dict()) return found;
    if (const void* found = value.as_namespace()) return found;
    if (const void* found = value.as_callable()) return found;
    if (const void* found = value.as_cycler()) return found;
    return value.as_loop();
  };
  return address(*this) == address(other);
}

const Value* Value::unhashable() const {
  if (as_dict() != nullptr) return this;
  const Sequence* sequence = as_sequence();
  if (sequence == nullptr || sequence->kind == SequenceKind::kIterator ||
      sequence->kind == SequenceKind::kRange || sequence->kind == SequenceKind::kValues) {
    return nullptr;
  }
  if (sequence->kind != SequenceKind::kTuple) return this;
  for (const Value& item : sequence->items) {
    if (const Value* found = item.unhashable()) return found;
  }
  return nullptr;
}

int Value::depth() const {
  if (const Sequence* sequence = as_sequence()) return sequence->depth;
  if (const Dict* dict = as_dict()) return dict->depth();
  if (const LoopState* loop = as_loop()) return loop->depth;
  if (const Cycler* cycler = as_cycler()) return cycler->depth;
  if (const Callable* callable = as_callable()) return callable->self.depth() + 1;
  return as_namespace() != nullptr ? 1 : 0;
}

std::string Value::type_name() const {
  if (is_none()) return "NoneType";
  if (is_undefined()) return "Undefined";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_float()) return "float";
  if (is_string()) return is_markup() ? "Markup" : "str";
  if (const Cycler* cycler = as_cycler()) return cycler->joiner ? "Joiner" : "Cycler";
  if (const Sequence* sequence = as_sequence()) {
    return sequence->group ? "_GroupTuple" : sequence_type(sequence->kind);
  }
  if (as_dict() != nullptr) return "dict";
  if (as_namespace() != nullptr) return "Namespace";
  if (as_loop() != nullptr) return "LoopContext";
  return as_callable()->kind == Callable::Kind::kMacro ? "Macro" : "function";
}

std::partial_ordering compare_numbers(const Value& a, const Value& b) {
  if (a.is_float() && b.is_float()) return a.number() <=> b.number();
  if (b.is_float()) {
    const std::partial_ordering reversed = compare_numbers(b, a);
    return reversed < 0   ? std::partial_ordering::greater
           : reversed > 0 ? std::partial_ordering::less
                          : reversed;
  }
  if (!a.is_float()) return *a.integral() <=> *b.integral();
  constexpr double kInt64Range = 9223372036854775808.0;
  const double real = a.number();
  if (std::isnan(real)) return std::partial_ordering::unordered;
  if (real >= kInt64Range) return std::partial_ordering::greater;
  if (real < -kInt64Range) return std::partial_ordering::less;
  const double whole = std::floor(real);
  const auto order = static_cast<int64_t>(whole) <=> *b.integral();
  return order == 0 && real > whole ? std::partial_ordering::greater : order;
}

absl::StatusOr<Value> make_sequence(SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  for (const Value& item : items) sequence->depth = std::max(sequence->depth, item.depth() + 1);
  if (sequence->depth > kMaxValueDepth) return too_deep();
  sequence->items = std::move(items);
  return Value::of(std::move(sequence));
}

Value make_string_list(const std::vector<std::string_view>& items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->items.reserve(items.size());
  for (std::string_view item : items) sequence->items.push_back(Value::string(item));
  return Value::of(std::move(sequence));
}

absl::Status Dict::insert(Value key, Value value) {
  if (!key.is_string() && !key.is_number() && !key.is_none()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a value of type '", key.type_name(), "' cannot be a dict key"));
  }
  if (value.depth() + 1 > kMaxValueDepth) return too_deep();
  depth_ = std::max(depth_, value.depth() + 1);
  if (const std::optional<size_t> at = position(key)) {
    items_[*at].second = std::move(value);
    return absl::OkStatus();
  }
  if (key.is_string()) by_text_.emplace(key.text(), items_.size());
  items_.emplace_back(std::move(key), std::move(value));
  return absl::OkStatus();
}

std::optional<size_t> Dict::position(const Value& key) const {
  if (key.is_string()) {
    const auto found = by_text_.find(key.text());
    return found == by_text_.end() ? std::nullopt : std::optional<size_t>(found->second);
  }
  for (size_t i = 0; i < items_.size(); ++i) {
    const Value& candidate = items_[i].first;
    if (key.is_none() && candidate.is_none()) return i;
    if (!key.is_number() || !candidate.is_number()) continue;
    if (compare_numbers(key, candidate) == 0) return i;
  }
  return std::nullopt;
}

const Value* Dict::find(const Value& key) const {
  const std::optional<size_t> at = position(key);
  return at ? &items_[*at].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = by_text_.find(std::string(key));
  return found == by_text_.end() ? nullptr : &items_[found->second].second;
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

void Namespace::set(std::string_view name, Value value) {
  for (auto& [key, current] : attributes) {
    if (key != name) continue;
    current = std::move(value);
    return;
  }
  attributes.emplace_back(std::string(name), std::move(value));
}

}  // namespace conclave::coordinator::jinja
