#include "coordinator/chat_template/value_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxSafeDigits = 19;  // shorter numbers fit int64

absl::Status beyond_int64(std::string_view digits) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the number ", std::string(digits), " does not fit a 64-bit integer; send it as text"));
}

absl::StatusOr<Value> convert(const Json& json, int depth) {
  if (depth > kMaxValueDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("the template's variables nest deeper than ", kMaxValueDepth, " levels"));
  }
  switch (json.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
      return Value();
    case Json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case Json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return beyond_int64(absl::StrCat(number));
      }
      return Value::integer(static_cast<int64_t>(number));
    }
    case Json::value_t::number_float:
      return Value::real(json.get<double>());
    case Json::value_t::string:
      return Value::string(json.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& element : json) {
        ASSIGN_OR_RETURN(Value item, convert(element, depth + 1));
        items.push_back(std::move(item));
      }
      return make_list(std::move(items));
    }
    case Json::value_t::object: {
      auto dict = std::make_shared<Dict>();
      for (auto it = json.begin(); it != json.end(); ++it) {
        ASSIGN_OR_RETURN(Value item, convert(it.value(), depth + 1));
        RETURN_IF_ERROR(dict->insert(Value::string(it.key()), std::move(item)));
      }
      return Value::of(std::shared_ptr<const Dict>(std::move(dict)));
    }
    case Json::value_t::binary:
      break;
  }
  return absl::InvalidArgumentError("the template's variables hold binary data");
}

void append_unit(std::string& out, uint32_t unit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[(unit >> shift) & 15u];
}

void append_escaped(std::string& out, std::string_view text, char32_t c, bool ensure_ascii) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\b':
      out += "\\b";
      return;
    default:
      break;
  }
  if (c >= 0x20 && (c < 0x7f || !ensure_ascii)) {
    out += text;
  } else if (c < 0x10000) {
    append_unit(out, c);
  } else {
    append_unit(out, 0xd800 + ((c - 0x10000) >> 10));
    append_unit(out, 0xdc00 + ((c - 0x10000) & 0x3ff));
  }
}

std::string quoted(std::string_view text, bool ensure_ascii) {
  std::string out = "\"";
  while (!text.empty()) {
    const DecodedRune rune = decode_rune(text);
    append_escaped(out, text.substr(0, rune.bytes), rune.code_point, ensure_ascii);
    text.remove_prefix(rune.bytes);
  }
  out += '"';
  return out;
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style, std::string& out)
      : budget_(budget), style_(style), out_(out) {}

  absl::Status write(const Value& value, int level) {
    if (value.is_string()) return add(quoted(value.text(), style_.ensure_ascii));
    if (value.is_none() || value.is_number()) return add(scalar(value));
    if (const Dict* dict = value.as_dict()) return write_dict(*dict, level);
    const Sequence* sequence = value.as_sequence();
    if (sequence != nullptr && (sequence->kind == SequenceKind::kList ||
                                sequence->kind == SequenceKind::kTuple)) {
      return write_list(sequence->items, level);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("Object of type ", value.type_name(), " is not JSON serializable"));
  }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is_bool()) return value.truthy() ? "true" : "false";
    return value.is_int() ? absl::StrCat(*value.integral()) : json_float(value.number());
  }

  absl::Status add(std::string_view text) {
    RETURN_IF_ERROR(budget_.charge_bytes(text.size()));
    out_ += text;
    return budget_.check_size(out_.size());
  }

  absl::Status new_line(int level) {
    if (!style_.indent) return absl::OkStatus();
    RETURN_IF_ERROR(add("\n"));
    for (int i = 0; i < level; ++i) RETURN_IF_ERROR(add(*style_.indent));
    return absl::OkStatus();
  }

  absl::Status write_list(const std::vector<Value>& items, int level) {
    if (items.empty()) return add("[]");
    RETURN_IF_ERROR(add("["));
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(add(style_.item_separator));
      RETURN_IF_ERROR(new_line(level + 1));
      RETURN_IF_ERROR(write(items[i], level + 1));
    }
    RETURN_IF_ERROR(new_line(level));
    return add("]");
  }

  absl::StatusOr<std::vector<Dict::Item>> in_order(const Dict& dict) {
    if (!style_.sort_keys) return dict.items();
    std::vector<Value> keys;
    std::vector<Value> indexes;
    for (const Dict::Item& item : dict.items()) {
      indexes.push_back(Value::integer(static_cast<int64_t>(keys.size())));
      keys.push_back(item.first);
    }
    ASSIGN_OR_RETURN(indexes, sort_by_key(budget_, std::move(indexes), keys, false));
    std::vector<Dict::Item> items;
    for (const Value& index : indexes) {
      items.push_back(dict.items()[static_cast<size_t>(*index.integral())]);
    }
    return items;
  }

  absl::Status write_dict(const Dict& dict, int level) {
    if (dict.items().empty()) return add("{}");
    RETURN_IF_ERROR(add("{"));
    ASSIGN_OR_RETURN(const std::vector<Dict::Item> items, in_order(dict));
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(add(style_.item_separator));
      RETURN_IF_ERROR(new_line(level + 1));
      const Value& key = items[i].first;
      RETURN_IF_ERROR(add(quoted(key.is_string() ? key.text() : scalar(key), style_.ensure_ascii)));
      RETURN_IF_ERROR(add(style_.key_separator));
      RETURN_IF_ERROR(write(items[i].second, level + 1));
    }
    RETURN_IF_ERROR(new_line(level));
    return add("}");
  }

  Budget& budget_;
  const JsonStyle& style_;
  std::string& out_;
};

}  // namespace

absl::Status check_integers(std::string_view json_text) {
  for (size_t at = 0; at < json_text.size();) {
    if (json_text[at] == '"') {
      for (++at; at < json_text.size() && json_text[at] != '"'; ++at)
        at += json_text[at] == '\\' ? 1 : 0;
      ++at;
      continue;
    }
    const size_t end =
        std::min(json_text.find_first_not_of("+-.0123456789eE", at), json_text.size());
    const std::string_view number = json_text.substr(at, end - at);
    int64_t value = 0;
    if (number.size() >= kMaxSafeDigits && number.find_first_of(".eE") == std::string_view::npos &&
        std::from_chars(number.data(), number.data() + number.size(), value).ec ==
            std::errc::result_out_of_range) {
      return beyond_int64(number);
    }
    at = std::max(end, at + 1);
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> value_from_json(const Json& json) { return convert(json, 0); }

absl::StatusOr<std::string> to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  std::string out;
  RETURN_IF_ERROR(JsonWriter(budget, style, out).write(value, 0));
  return out;
}

}  // namespace conclave::coordinator::jinja
