#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/markup.h"
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
  return text_like(input, operation(text));
}

std::string identity(std::string_view text) { return std::string(text); }

// Jinja's own rule: words start after blanks, hyphens and opening brackets.
Result title(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("title", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t first = decode_rune(rest).bytes;
    size_t end = 0;
    while (end < rest.size()) {
      const DecodedRune rune = decode_rune(rest.substr(end));
      const char32_t c = rune.code_point;
      if (is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<') break;
      end += rune.bytes;
    }
    if (end == 0) {
      out += rest.substr(0, first);
      rest.remove_prefix(first);
      continue;
    }
    out += to_upper(rest.substr(0, first)) + to_lower(rest.substr(first, end - first));
    rest.remove_prefix(end);
  }
  return Value::string(std::move(out));
}

Result trim(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("trim", arguments, {"chars"}));
  ASSIGN_OR_RETURN(const std::optional<std::string> chars, bound.text(0));
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  return text_like(input, std::string(strip(text, StripSide::kBoth, chars ? &*chars : nullptr)));
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
  return text_like(input, std::move(out));
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
  ASSIGN_OR_RETURN(std::string text, to_text(budget, input));
  const Value pattern = text_like(input, std::move(text));
  if (!arguments.named.empty() && !arguments.positional.empty()) {
    return absl::InvalidArgumentError(
        "can't handle positional and keyword arguments at the same time");
  }
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
  return text_like(input, std::move(out));
}

Result wordcount(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("wordcount", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  int64_t count = 0;
  bool inside = false;
  for (std::string_view rest = text; !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    const bool word = is_alnum(rune.code_point) || rune.code_point == '_';
    count += word && !inside ? 1 : 0;
    inside = word;
    rest.remove_prefix(rune.bytes);
  }
  return Value::integer(count);
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 13> kFilters = {{
    {"capitalize", simple<capitalize_text>},
    {"center", center},
    {"format", format},
    {"indent", indent},
    {"join", join},
    {"lower", simple<to_lower>},
    {"replace", replace},
    {"string", simple<identity>},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"upper", simple<to_upper>},
    {"wordcount", wordcount},
}};

}  // namespace

FilterTable text_filters() { return kFilters; }

}  // namespace conclave::coordinator::jinja
