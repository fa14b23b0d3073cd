#include "coordinator/chat_template/pretty_print.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr int kWidth = 80;

int length(std::string_view text) { return static_cast<int>(rune_count(text)); }

bool is_list_or_tuple(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  return sequence != nullptr && !sequence->group &&
         (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple);
}

// Keys that compare come by their order, others by the name of their type.
absl::StatusOr<std::vector<Dict::Item>> sorted_items(Budget& budget, const Dict& dict) {
  std::vector<Value> keys;
  std::vector<Value> places;
  bool one_kind = true;
  for (const Dict::Item& item : dict.items()) {
    places.push_back(Value::integer(static_cast<int64_t>(keys.size())));
    const Value& first = dict.items().front().first;
    one_kind = one_kind && (item.first.is_string() == first.is_string()) &&
               (item.first.is_number() == first.is_number());
    keys.push_back(item.first);
  }
  if (!one_kind) {
    for (Value& key : keys) {
      ASSIGN_OR_RETURN(
          key, make_sequence(SequenceKind::kTuple,
                             {Value::string(key.is_number() ? "int" : key.type_name()), key}));
    }
  }
  ASSIGN_OR_RETURN(places, sort_by_key(budget, std::move(places), keys, false));
  std::vector<Dict::Item> items;
  for (const Value& place : places)
    items.push_back(dict.items()[static_cast<size_t>(*place.integral())]);
  return items;
}

// A line's words, each with the blanks behind it.
std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    size_t end = 0;
    bool blank = false;
    while (end < line.size()) {
      const DecodedRune rune = decode_rune(line.substr(end));
      const bool space = is_space(rune.code_point);
      if (blank && !space) break;
      blank = space;
      end += rune.bytes;
    }
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return words;
}

class PrettyPrinter {
 public:
  PrettyPrinter(Budget& budget, std::string& out) : budget_(budget), out_(out) {}

  // indent: where the value starts; allowance: what must follow it on its last line.
  absl::Status write(const Value& value, int indent, int allowance, int level) {
    ASSIGN_OR_RETURN(const std::string flat, one_line(value, 0));
    if (length(flat) <= kWidth - indent - allowance) return add(flat);
    if (const Dict* dict = value.as_dict()) return write_dict(*dict, indent, allowance, level + 1);
    if (is_list_or_tuple(value))
      return write_items(*value.as_sequence(), indent, allowance, level + 1);
    if (value.is_string() && !value.is_markup())
      return write_text(value.text(), indent, allowance, level + 1);
    return add(flat);
  }

 private:
  absl::Status add(std::string_view text) {
    RETURN_IF_ERROR(budget_.charge_bytes(text.size()));
    out_ += text;
    return budget_.check_size(out_.size());
  }
  absl::Status new_line(int indent, std::string_view before) {
    return add(
        absl::StrCat(std::string(before), "\n", std::string(static_cast<size_t>(indent), ' ')));
  }

  // repr() with every dict sorted.
  absl::StatusOr<std::string> one_line(const Value& value, int depth) {
    if (depth > kMaxValueDepth) return absl::InvalidArgumentError("values nest too deeply");
    RETURN_IF_ERROR(budget_.charge_steps(1));
    const Dict* dict = value.as_dict();
    if (dict == nullptr && !is_list_or_tuple(value)) return to_repr(budget_, value);
    const bool tuple = dict == nullptr && value.as_sequence()->kind == SequenceKind::kTuple;
    std::string text = dict != nullptr ? "{" : tuple ? "(" : "[";
    const auto append = [&](const Value& part, std::string_view before) -> absl::Status {
      ASSIGN_OR_RETURN(const std::string shown, one_line(part, depth + 1));
      RETURN_IF_ERROR(budget_.charge_bytes(shown.size()));
      text += before;
      text += shown;
      return budget_.check_size(text.size());
    };
    if (dict != nullptr) {
      ASSIGN_OR_RETURN(const std::vector<Dict::Item> items, sorted_items(budget_, *dict));
      for (size_t i = 0; i < items.size(); ++i) {
        RETURN_IF_ERROR(append(items[i].first, i == 0 ? "" : ", "));
        RETURN_IF_ERROR(append(items[i].second, ": "));
      }
      return text + "}";
    }
    const std::vector<Value>& items = value.as_sequence()->items;
    for (size_t i = 0; i < items.size(); ++i) RETURN_IF_ERROR(append(items[i], i == 0 ? "" : ", "));
    return text + (!tuple ? "]" : items.size() == 1 ? ",)" : ")");
  }

  absl::Status write_dict(const Dict& dict, int indent, int allowance, int level) {
    RETURN_IF_ERROR(add("{"));
    ASSIGN_OR_RETURN(const std::vector<Dict::Item> items, sorted_items(budget_, dict));
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(new_line(indent + 1, ","));
      ASSIGN_OR_RETURN(const std::string key, one_line(items[i].first, 0));
      RETURN_IF_ERROR(add(absl::StrCat(key, ": ")));
      const bool last = i + 1 == items.size();
      RETURN_IF_ERROR(
          write(items[i].second, indent + 1 + length(key) + 2, last ? allowance + 1 : 1, level));
    }
    return add("}");
  }

  absl::Status write_items(const Sequence& sequence, int indent, int allowance, int level) {
    const bool tuple = sequence.kind == SequenceKind::kTuple;
    const std::string_view close = !tuple ? "]" : sequence.items.size() == 1 ? ",)" : ")";
    RETURN_IF_ERROR(add(tuple ? "(" : "["));
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(new_line(indent + 1, ","));
      const bool last = i + 1 == sequence.items.size();
      RETURN_IF_ERROR(write(sequence.items[i], indent + 1,
                            last ? allowance + static_cast<int>(close.size()) : 1, level));
    }
    return add(close);
  }

  // Pieces of a long text, one a line; the outermost one stands in parentheses.
  absl::Status write_text(const std::string& text, int indent, int allowance, int level) {
    if (text.empty()) return add("''");
    if (level == 1) {
      ++indent;
      ++allowance;
    }
    std::vector<std::string> pieces;
    const std::vector<std::string_view> lines = split_lines(text, true);
    for (size_t i = 0; i < lines.size(); ++i) {
      const int room = kWidth - indent;
      const int end = i + 1 == lines.size() ? allowance : 0;
      const std::string whole = string_repr(lines[i]);
      if (length(whole) <= room - end) {
        pieces.push_back(whole);
      } else {
        RETURN_IF_ERROR(append_words(lines[i], room, end, &pieces));
      }
    }
    if (pieces.size() == 1) return add(pieces[0]);
    if (level == 1) RETURN_IF_ERROR(add("("));
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(new_line(indent, ""));
      RETURN_IF_ERROR(add(pieces[i]));
    }
    return level == 1 ? add(")") : absl::OkStatus();
  }

  absl::Status append_words(std::string_view line, int room, int end,
                            std::vector<std::string>* pieces) {
    std::string current;
    const std::vector<std::string_view> words = words_of(line);
    for (size_t j = 0; j < words.size(); ++j) {
      const std::string candidate = absl::StrCat(current, std::string(words[j]));
      RETURN_IF_ERROR(budget_.charge_bytes(candidate.size()));
      if (length(string_repr(candidate)) > room - (j + 1 == words.size() ? end : 0)) {
        if (!current.empty()) pieces->push_back(string_repr(current));
        current = std::string(words[j]);
      } else {
        current = candidate;
      }
    }
    if (!current.empty()) pieces->push_back(string_repr(current));
    return absl::OkStatus();
  }

  Budget& budget_;
  std::string& out_;
};

}  // namespace

absl::StatusOr<std::string> pretty_print(Budget& budget, const Value& value) {
  std::string out;
  RETURN_IF_ERROR(PrettyPrinter(budget, out).write(value, 0, 0, 0));
  return out;
}

}  // namespace conclave::coordinator::jinja
