#include "coordinator/chat_template/subscript.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/ast.h"
#include "coordinator/chat_template/loop_state.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

std::string owner(const Value& value) {
  return value.is_none() ? "None" : absl::StrCat(value.type_name(), " object");
}

Value missing_attribute(const Value& value, std::string_view name) {
  return Value::undefined(
      absl::StrCat("'", owner(value), "' has no attribute ", string_repr(name)));
}

Value unsafe_attribute(const Value& value, std::string_view name) {
  return Value::undefined(absl::StrCat("access to attribute '", std::string(name), "' of '",
                                       value.type_name(), "' object is unsafe."));
}

Value bound_method(const Value& self, std::string_view name) {
  auto callable = std::make_shared<Callable>();
  callable->kind = Callable::Kind::kMethod;
  callable->name = std::string(name);
  callable->self = self;
  return Value::of(std::shared_ptr<const Callable>(std::move(callable)));
}

std::optional<Value> sequence_attribute(const Sequence& sequence, std::string_view name) {
  if (sequence.group && name == "grouper") return sequence.items[0];
  if (sequence.group && name == "list") return sequence.items[1];
  if (sequence.kind != SequenceKind::kRange) return std::nullopt;
  if (name == "start") return Value::integer(sequence.start);
  if (name == "stop") return Value::integer(sequence.stop);
  if (name == "step") return Value::integer(sequence.step);
  return std::nullopt;
}

absl::StatusOr<std::optional<Value>> parameters_of(const Macro& macro) {
  std::vector<Value> names;
  for (const Parameter& parameter : macro.parameters)
    names.push_back(Value::string(parameter.name));
  ASSIGN_OR_RETURN(Value tuple, make_sequence(SequenceKind::kTuple, std::move(names)));
  return std::optional<Value>(std::move(tuple));
}

// What getattr(value, name) finds; nothing if it raises AttributeError.
absl::StatusOr<std::optional<Value>> python_attribute(const Value& value, std::string_view name) {
  using Result = std::optional<Value>;
  if (name.starts_with("__") && name.ends_with("__")) {
    return Result(unsafe_attribute(value, name));
  }
  if (value.is_number()) {
    if (std::optional<Value> attribute = number_attribute(value, name)) return attribute;
  }
  if (const Sequence* sequence = value.as_sequence()) {
    if (std::optional<Value> attribute = sequence_attribute(*sequence, name)) return attribute;
  }
  if (Cycler* cycler = value.as_cycler(); cycler != nullptr && !cycler->joiner) {
    if (name == "current") return Result(cycler->items[cycler->position]);
    if (name == "pos") return Result(Value::integer(static_cast<int64_t>(cycler->position)));
    if (name == "next" || name == "reset") return Result(bound_method(value, name));
  }
  if (is_forbidden_method(value, name)) return Result(unsafe_attribute(value, name));
  if (find_method(value, name) != nullptr) {
    if (value.depth() + 1 > kMaxValueDepth) {
      return absl::InvalidArgumentError("values nest too deeply");
    }
    return Result(bound_method(value, name));
  }
  if (const Namespace* space = value.as_namespace()) {
    if (const Value* found = space->find(name)) return Result(*found);
  }
  if (const Callable* macro = value.as_callable(); macro != nullptr && macro->macro != nullptr) {
    if (name == "name") return Result(Value::string(macro->name));
    if (name == "catch_kwargs") return Result(Value::boolean(macro->macro->uses_kwargs));
    if (name == "catch_varargs") return Result(Value::boolean(macro->macro->uses_varargs));
    if (name == "caller") return Result(Value::boolean(macro->macro->uses_caller));
    if (name == "arguments") return parameters_of(*macro->macro);
  }
  if (LoopState* loop = value.as_loop()) {
    if (name == "cycle" || name == "changed") return Result(bound_method(value, name));
    return loop->attribute(name);
  }
  return Result();
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
}

std::optional<Value> character_at(const std::string& text, int64_t index) {
  if (is_ascii(text)) {
    const auto length = static_cast<int64_t>(text.size());
    if (index < 0) index += length;
    if (index < 0 || index >= length) return std::nullopt;
    return Value::string(std::string(1, text[static_cast<size_t>(index)]));
  }
  const std::vector<size_t> offsets = rune_offsets(text);
  const auto length = static_cast<int64_t>(offsets.size()) - 1;
  if (index < 0) index += length;
  if (index < 0 || index >= length) return std::nullopt;
  const auto at = static_cast<size_t>(index);
  return Value::string(text.substr(offsets[at], offsets[at + 1] - offsets[at]));
}

std::optional<Value> element_at(const Value& value, int64_t index) {
  const Sequence* sequence = value.as_sequence();
  if (sequence != nullptr) {
    const bool indexed = sequence->kind == SequenceKind::kList ||
                         sequence->kind == SequenceKind::kTuple ||
                         sequence->kind == SequenceKind::kRange;
    const auto length = static_cast<int64_t>(sequence->items.size());
    if (index < 0) index += length;
    if (!indexed || index < 0 || index >= length) return std::nullopt;
    return sequence->items[static_cast<size_t>(index)];
  }
  if (!value.is_string()) return std::nullopt;
  std::optional<Value> character = character_at(value.text(), index);
  if (character && value.is_markup()) character = Value::markup(character->text());
  return character;
}

// The indexes a Python slice picks from a sequence of this length.
absl::StatusOr<std::vector<size_t>> slice_indexes(Budget& budget, int64_t length,
                                                  const SliceBounds& bounds) {
  const int64_t step = bounds.step.value_or(1);
  if (step == 0) return absl::InvalidArgumentError("slice step cannot be zero");
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? length : length - 1;
  const auto clamp = [&](int64_t index) {
    if (index < 0) index = index < -length ? lowest : index + length;
    return std::clamp(index, lowest, highest);
  };
  int64_t at = bounds.start ? clamp(*bounds.start) : (step > 0 ? lowest : highest);
  const int64_t stop = bounds.stop ? clamp(*bounds.stop) : (step > 0 ? highest : lowest);
  std::vector<size_t> indexes;
  RETURN_IF_ERROR(budget.charge_steps(static_cast<size_t>(length) / 16));
  while (step > 0 ? at < stop : at > stop) {
    indexes.push_back(static_cast<size_t>(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return indexes;
}

// As Python shows it: range(5)[1:9] is range(1, 5).
absl::StatusOr<Value> make_range_slice(const Sequence& range, const SliceBounds& bounds,
                                       std::vector<Value> items) {
  const auto length = static_cast<int64_t>(range.items.size());
  const int64_t step = bounds.step.value_or(1);
  const auto place = [&](std::optional<int64_t> index, int64_t otherwise) {
    if (!index) return otherwise;
    const int64_t lowest = step > 0 ? 0 : -1;
    const int64_t at = *index < 0 ? (*index < -length ? lowest : *index + length) : *index;
    return std::clamp(at, lowest, step > 0 ? length : length - 1);
  };
  const int64_t first = place(bounds.start, step > 0 ? 0 : length - 1);
  const int64_t last = place(bounds.stop, step > 0 ? length : -1);
  ASSIGN_OR_RETURN(Value value, make_sequence(SequenceKind::kRange, std::move(items)));
  describe_range(*value.as_sequence(), range.start + first * range.step,
                 range.start + last * range.step, range.step * step);
  return value;
}

}  // namespace

void describe_range(Sequence& range, int64_t start, int64_t stop, int64_t step) {
  range.start = start;
  range.stop = stop;
  range.step = step;
  range.range_text =
      absl::StrCat("range(", start, ", ", stop, step == 1 ? "" : absl::StrCat(", ", step), ")");
}

absl::StatusOr<std::vector<Value>> elements_of(Budget& budget, const Value& value) {
  if (value.is_undefined()) return std::vector<Value>();
  if (value.is_string()) {
    std::vector<Value> characters;
    for (std::string_view rest = value.text(); !rest.empty();) {
      RETURN_IF_ERROR(budget.charge_bytes(kTextValueBytes));
      RETURN_IF_ERROR(budget.check_size(characters.size() * sizeof(Value)));
      const size_t bytes = decode_rune(rest).bytes;
      characters.push_back(Value::string(rest.substr(0, bytes)));
      rest.remove_prefix(bytes);
    }
    return characters;
  }
  if (const Dict* dict = value.as_dict()) {
    std::vector<Value> keys;
    RETURN_IF_ERROR(budget.charge_bytes(dict->items().size() * sizeof(Value)));
    for (const auto& item : dict->items()) keys.push_back(item.first);
    return keys;
  }
  if (Sequence* sequence = value.as_sequence()) {
    if (sequence->kind == SequenceKind::kIterator) {
      if (sequence->consumed) return std::vector<Value>();
      sequence->consumed = true;
      RETURN_IF_ERROR(sequence->failure);
      return std::move(sequence->items);
    }
    RETURN_IF_ERROR(budget.charge_bytes(sequence->items.size() * sizeof(Value)));
    return sequence->items;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", value.type_name(), "' object is not iterable"));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.as_dict() != nullptr ||
         value.as_sequence() != nullptr || value.as_loop() != nullptr;
}

std::optional<int64_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return static_cast<int64_t>(rune_count(value.text()));
  if (const Dict* dict = value.as_dict()) return static_cast<int64_t>(dict->items().size());
  if (LoopState* loop = value.as_loop()) {
    const auto length = loop->attribute("length");
    if (!length.ok() || !length->has_value() || !(*length)->is_int()) return std::nullopt;
    return (*length)->integral();
  }
  const Sequence* sequence = value.as_sequence();
  if (sequence == nullptr || sequence->kind == SequenceKind::kIterator) return std::nullopt;
  return static_cast<int64_t>(sequence->items.size());
}

absl::StatusOr<Value> get_attribute(const Value& value, std::string_view name) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_message());
  ASSIGN_OR_RETURN(const std::optional<Value> attribute, python_attribute(value, name));
  if (attribute) return *attribute;
  if (const Dict* dict = value.as_dict()) {
    if (const Value* found = dict->find(name)) return *found;
  }
  return missing_attribute(value, name);
}

absl::StatusOr<Value> get_item(Budget& budget, const Value& value, const Value& key) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_message());
  if (const Dict* dict = value.as_dict()) {
    if (const Value* found = dict->find(key)) return *found;
  } else if (const std::optional<int64_t> index = key.integral()) {
    if (value.is_string()) RETURN_IF_ERROR(budget.charge_search(value.text().size(), 0));
    if (std::optional<Value> element = element_at(value, *index)) return *std::move(element);
  }
  if (key.is_string()) {
    ASSIGN_OR_RETURN(const std::optional<Value> attribute, python_attribute(value, key.text()));
    if (attribute) return *attribute;
    return missing_attribute(value, key.text());
  }
  ASSIGN_OR_RETURN(const std::string shown, to_repr(budget, key));
  return Value::undefined(absl::StrCat(owner(value), " has no element ", shown));
}

absl::StatusOr<Value> get_slice(Budget& budget, const Value& value, const SliceBounds& bounds) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_message());
  if (value.is_string()) {
    RETURN_IF_ERROR(budget.charge_search(value.text().size(), 0));
    const std::vector<size_t> offsets = rune_offsets(value.text());
    ASSIGN_OR_RETURN(
        const std::vector<size_t> indexes,
        slice_indexes(budget, static_cast<int64_t>(offsets.size()) - 1, bounds));
    std::string out;
    for (size_t i : indexes) {
      out.append(value.text(), offsets[i], offsets[i + 1] - offsets[i]);
    }
    RETURN_IF_ERROR(budget.charge_bytes(out.size()));
    return text_like(value, std::move(out));
  }
  const Sequence* sequence = value.as_sequence();
  const bool sliceable = sequence != nullptr && (sequence->kind == SequenceKind::kList ||
                                                 sequence->kind == SequenceKind::kTuple ||
                                                 sequence->kind == SequenceKind::kRange);
  if (!sliceable) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", value.type_name(), "' object cannot be sliced"));
  }
  ASSIGN_OR_RETURN(
      const std::vector<size_t> indexes,
      slice_indexes(budget, static_cast<int64_t>(sequence->items.size()), bounds));
  RETURN_IF_ERROR(budget.charge_bytes(indexes.size() * sizeof(Value)));
  std::vector<Value> items;
  items.reserve(indexes.size());
  for (size_t i : indexes) items.push_back(sequence->items[i]);
  if (sequence->kind != SequenceKind::kRange)
    return make_sequence(sequence->kind, std::move(items));
  return make_range_slice(*sequence, bounds, std::move(items));
}

}  // namespace conclave::coordinator::jinja
