#include "coordinator/chat_template/markup.h"

#include <array>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

// The entities that escape() writes and those that texts use; html.unescape() of Python knows 2,000
// more.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kEntities = {
    {{"amp", "&"},
     {"lt", "<"},
     {"gt", ">"},
     {"quot", "\""},
     {"apos", "'"},
     {"nbsp", "\xc2\xa0"},
     {"copy", "\xc2\xa9"},
     {"mdash", "\xe2\x80\x94"},
     {"ndash", "\xe2\x80\x93"},
     {"hellip", "\xe2\x80\xa6"}}};

// The character that "#39" or "#x27" names; 0 if it is none.
char32_t numeric_entity(std::string_view name) {
  const bool hex = name.size() > 1 && (name[1] == 'x' || name[1] == 'X');
  std::string_view digits = name.substr(hex ? 2 : 1);
  if (digits.empty() || digits.size() > 7) return 0;
  char32_t value = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'          ? c - '0'
                      : hex && c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : hex && c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                    : -1;
    if (digit < 0) return 0;
    value = value * (hex ? 16 : 10) + static_cast<char32_t>(digit);
  }
  return value;
}

std::string collapse_spaces(std::string_view text) {
  std::string out;
  bool pending = false;
  while (!text.empty()) {
    const DecodedRune rune = decode_rune(text);
    if (is_space(rune.code_point)) {
      pending = !out.empty();
    } else {
      if (pending) out += ' ';
      pending = false;
      out += text.substr(0, rune.bytes);
    }
    text.remove_prefix(rune.bytes);
  }
  return out;
}

}  // namespace

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

absl::StatusOr<Value> escaped(Budget& budget, const Value& value) {
  if (value.is_markup()) return value;
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, value));
  RETURN_IF_ERROR(budget.charge_bytes(text.size()));
  std::string out = escape_html(text);
  RETURN_IF_ERROR(budget.check_size(out.size()));
  return Value::markup(std::move(out));
}

Value text_like(const Value& like, std::string text) {
  return like.is_markup() ? Value::markup(std::move(text)) : Value::string(std::move(text));
}

absl::StatusOr<Arguments> markup_arguments(Budget& budget, std::string_view method,
                                           const Arguments& arguments) {
  Arguments changed = arguments;
  if (method == "join" && !arguments.positional.empty()) {
    ASSIGN_OR_RETURN(std::vector<Value> items, elements_of(budget, arguments.positional[0]));
    for (Value& item : items) {
      ASSIGN_OR_RETURN(item, escaped(budget, item));
    }
    ASSIGN_OR_RETURN(changed.positional[0], make_list(std::move(items)));
  }
  const bool fills =
      method == "replace" || method == "ljust" || method == "rjust" || method == "center";
  if (fills && changed.positional.size() > 1) {
    ASSIGN_OR_RETURN(changed.positional[1], escaped(budget, changed.positional[1]));
  }
  return changed;
}

absl::StatusOr<Value> markup_result(Value result) {
  if (result.is_string()) return Value::markup(result.text());
  const Sequence* sequence = result.as_sequence();
  if (sequence == nullptr) return result;
  std::vector<Value> items = sequence->items;
  for (Value& item : items) {
    if (item.is_string()) item = Value::markup(item.text());
  }
  return make_sequence(sequence->kind, std::move(items));
}

std::string unescape_html(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    const size_t end =
        text[at] == '&' ? text.substr(0, at + 12).find(';', at) : std::string_view::npos;
    if (end == std::string_view::npos) {
      out += text[at];
      continue;
    }
    const std::string_view name = text.substr(at + 1, end - at - 1);
    std::string replacement;
    if (name.starts_with('#')) {
      if (const char32_t c = numeric_entity(name)) append_rune(replacement, c);
    }
    for (const auto& [entity, shown] : kEntities) {
      if (entity == name) replacement = std::string(shown);
    }
    if (replacement.empty()) {
      out += '&';
      continue;
    }
    out += replacement;
    at = end;
  }
  return out;
}

std::string strip_tags(std::string_view text) {
  std::string kept;
  size_t from = 0;
  for (size_t start = text.find('<'); start != std::string_view::npos;
       start = text.find('<', from)) {
    const bool comment = text.substr(start, 4) == "<!--";
    const size_t end = comment ? text.find("-->", start + 4) : text.find('>', start);
    if (end == std::string_view::npos) break;
    kept += text.substr(from, start - from);
    from = end + (comment ? 3 : 1);
  }
  kept += text.substr(from);
  return unescape_html(collapse_spaces(kept));
}

}  // namespace conclave::coordinator::jinja
