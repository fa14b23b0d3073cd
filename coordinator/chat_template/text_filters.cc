#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/string_format.h"
#include "coordinator/chat_template/string_operations.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_json.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<Value>;

template <std::string (*operation)(std::string_view)>
Result simple(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("filter", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  return Value::string(operation(text));
}

std::string identity(std::string_view text) { return std::string(text); }

// Jinja's own rule: words start after blanks, hyphens and opening brackets.
std::string title(std::string_view text) {
  std::string out;
  bool at_start = true;
  while (!text.empty()) {
    const DecodedRune rune = decode_rune(text);
    const std::string_view letter = text.substr(0, rune.bytes);
    const char32_t c = rune.code_point;
    const bool separator = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    out += separator ? std::string(letter) : at_start ? to_upper(letter) : to_lower(letter);
    at_start = separator;
    text.remove_prefix(rune.bytes);
  }
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Result trim(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("trim", arguments, {"chars"}));
  ASSIGN_OR_RETURN(const std::optional<std::string> chars, bound.text(0));
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  return Value::string(strip(text, StripSide::kBoth, chars ? &*chars : nullptr));
}

Result replace(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("replace", arguments, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  ASSIGN_OR_RETURN(const std::string from, to_text(budget, *bound.get(0)));
  ASSIGN_OR_RETURN(const std::string to, to_text(budget, *bound.get(1)));
  ASSIGN_OR_RETURN(const int64_t count, bound.integer(2, -1));
  ASSIGN_OR_RETURN(std::string out, replace_text(budget, text, from, to, count));
  return Value::string(std::move(out));
}

Result join(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("join", arguments, {"d", "attribute"}));
  ASSIGN_OR_RETURN(std::vector<Value> items, elements_of(budget, input));
  if (bound.get(1) != nullptr && !bound.get(1)->is_none()) {
    for (Value& item : items) {
      ASSIGN_OR_RETURN(item, follow_path(budget, item, *bound.get(1)));
    }
  }
  std::string separator;
  if (bound.get(0) != nullptr) {
    ASSIGN_OR_RETURN(separator, to_text(budget, *bound.get(0)));
  }
  ASSIGN_OR_RETURN(std::string out, join_texts(budget, separator, items));
  return Value::string(std::move(out));
}

Result indent(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("indent", arguments, {"width", "first", "blank"}));
  if (!input.is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("indent takes text, not '", input.type_name(), "'"));
  }
  std::string indentation;
  if (bound.get(0) != nullptr && bound.get(0)->is_string()) {
    indentation = bound.get(0)->text();
  } else {
    ASSIGN_OR_RETURN(const int64_t width, bound.integer(0, 4));
    ASSIGN_OR_RETURN(indentation, center_text(budget, "", width, " "));
  }
  const bool indent_blank = bound.truthy(2, false);
  // The newline added here is what Jinja adds, so that a text ending in one keeps it.
  const std::string text = input.text() + "\n";
  std::string out = bound.truthy(1, false) ? indentation : "";
  bool first = true;
  for (std::string_view line : split_lines(text)) {
    RETURN_IF_ERROR(budget.charge_bytes(indentation.size() + line.size() + 1));
    if (!first) out += '\n';
    if (!first && (indent_blank || !line.empty())) out += indentation;
    out += line;
    first = false;
    if (out.size() > budget.limits().value_bytes) break;
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  return Value::string(std::move(out));
}

Result tojson(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("tojson", arguments,
                                        {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = bound.truthy(0, false);
  style.sort_keys = bound.truthy(3, false);
  if (const Value* width = bound.get(1); width != nullptr && !width->is_none()) {
    if (width->is_string()) {
      style.indent = width->text();
    } else {
      ASSIGN_OR_RETURN(const int64_t spaces, bound.integer(1, 0));
      ASSIGN_OR_RETURN(style.indent, center_text(budget, "", spaces, " "));
    }
    style.item_separator = ",";
  }
  if (const Value* separators = bound.get(2); separators != nullptr && !separators->is_none()) {
    ASSIGN_OR_RETURN(const std::vector<Value> pair, elements_of(budget, *separators));
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return absl::InvalidArgumentError("tojson: separators must be two strings");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  ASSIGN_OR_RETURN(std::string out, to_json(budget, input, style));
  return Value::string(std::move(out));
}

Result format(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const std::string pattern, to_text(budget, input));
  if (arguments.named.empty()) {
    ASSIGN_OR_RETURN(const Value operands,
                     make_sequence(SequenceKind::kTuple, arguments.positional));
    return format_percent(budget, pattern, operands);
  }
  auto dict = std::make_shared<Dict>();
  for (const auto& [name, value] : arguments.named) {
    RETURN_IF_ERROR(dict->insert(Value::string(name), value));
  }
  return format_percent(budget, pattern, Value::of(std::shared_ptr<const Dict>(std::move(dict))));
}

Result center(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("center", arguments, {"width"}));
  ASSIGN_OR_RETURN(const int64_t width, bound.integer(0, 80));
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  ASSIGN_OR_RETURN(std::string out, center_text(budget, text, width, " "));
  return Value::string(std::move(out));
}

Result wordcount(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("wordcount", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  int64_t count = 0;
  bool inside = false;
  for (std::string_view rest = text; !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    const bool word = is_word(rune.code_point);
    count += word && !inside ? 1 : 0;
    inside = word;
    rest.remove_prefix(rune.bytes);
  }
  return Value::integer(count);
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 16> kFilters = {{
    {"capitalize", simple<capitalize_text>},
    {"center", center},
    {"e", simple<escape_html>},
    {"escape", simple<escape_html>},
    {"format", format},
    {"indent", indent},
    {"join", join},
    {"lower", simple<to_lower>},
    {"replace", replace},
    {"safe", simple<identity>},
    {"string", simple<identity>},
    {"title", simple<title>},
    {"tojson", tojson},
    {"trim", trim},
    {"upper", simple<to_upper>},
    {"wordcount", wordcount},
}};

}  // namespace

FilterFunction find_text_filter(std::string_view name) {
  for (const auto& [key, filter] : kFilters) {
    if (key == name) return filter;
  }
  return nullptr;
}

}  // namespace conclave::coordinator::jinja
