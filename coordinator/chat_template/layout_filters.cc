// Filters that shape text for people and for the web.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/link_filter.h"
#include "coordinator/chat_template/literals.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/pretty_print.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/text_wrap.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

using Result = absl::StatusOr<Value>;

absl::Status wants_text(const char* filter, const Value& value) {
  if (value.is_undefined()) return absl::InvalidArgumentError(value.undefined_message());
  return absl::InvalidArgumentError(
      absl::StrCat(filter, " takes text, not '", value.type_name(), "'"));
}

Result truncate(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind("truncate", arguments, {"length", "killwords", "end", "leeway"}));
  ASSIGN_OR_RETURN(const int64_t length, bound.integer(0, 255));
  ASSIGN_OR_RETURN(const std::optional<std::string> given, bound.text(2));
  ASSIGN_OR_RETURN(const int64_t leeway, bound.integer(3, 5));
  const std::string end = given.value_or("...");
  const auto end_length = static_cast<int64_t>(rune_count(end));
  if (length < end_length)
    return absl::InvalidArgumentError(
        absl::StrCat("expected length >= ", end_length, ", got ", length));
  if (leeway < 0)
    return absl::InvalidArgumentError(absl::StrCat("expected leeway >= 0, got ", leeway));
  const std::optional<int64_t> size = length_of(input);
  if (!size) return wants_text("truncate", input);
  if (*size - leeway <= length) return input;
  if (!input.is_string()) return wants_text("truncate", input);
  ASSIGN_OR_RETURN(const Value head,
                   get_slice(budget, input, SliceBounds{.stop = length - end_length}));
  std::string kept = head.text();
  if (!bound.truthy(1, false)) {
    if (const size_t blank = kept.rfind(' '); blank != std::string::npos) kept.resize(blank);
  }
  return text_like(input, kept + (input.is_markup() ? escape_html(end) : end));
}

Result wordwrap(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind("wordwrap", arguments,
                           {"width", "break_long_words", "wrapstring", "break_on_hyphens"}));
  ASSIGN_OR_RETURN(const int64_t width, bound.integer(0, 79));
  ASSIGN_OR_RETURN(const std::optional<std::string> given, bound.text(2));
  if (!input.is_string()) return wants_text("wordwrap", input);
  const std::string separator = given.value_or("\n");
  const WrapStyle style{.width = width,
                        .break_long_words = bound.truthy(1, true),
                        .break_on_hyphens = bound.truthy(3, true)};
  std::string out;
  bool first = true;
  for (const std::string_view line : split_lines(input.text())) {
    if (width <= 0)
      return absl::InvalidArgumentError(absl::StrCat("invalid width ", width, " (must be > 0)"));
    RETURN_IF_ERROR(budget.charge_bytes(line.size() * 8));
    const std::vector<std::string> wrapped = wrap_text(line, style);
    for (size_t i = 0; i < std::max<size_t>(wrapped.size(), 1); ++i) {
      if (!first) out += separator;
      first = false;
      if (i < wrapped.size()) out += wrapped[i];
    }
    RETURN_IF_ERROR(budget.check_size(out.size()));
  }
  return Value::string(std::move(out));
}

Result filesizeformat(Budget&, const Value& input, const Arguments& arguments) {
  constexpr std::array<char, 8> kPrefixes = {'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'};
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("filesizeformat", arguments, {"binary"}));
  std::optional<double> bytes;
  if (input.is_number()) bytes = input.number();
  if (input.is_string()) bytes = parse_python_float(input.text());
  if (!bytes || std::isnan(*bytes))
    return absl::InvalidArgumentError("filesizeformat takes a number");
  const bool binary = bound.truthy(0, false);
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) return Value::string("1 Byte");
  if (*bytes < base) {
    if (*bytes < -9e18)
      return absl::InvalidArgumentError("the result does not fit a 64-bit integer");
    return Value::string(absl::StrCat(static_cast<int64_t>(*bytes), " Bytes"));
  }
  double unit = base;
  size_t prefix = 0;
  for (unit *= base; prefix + 1 < kPrefixes.size() && *bytes >= unit; ++prefix) unit *= base;
  char text[512];
  std::snprintf(text, sizeof text, "%.1f ", base * *bytes / unit);
  const char letter = binary && kPrefixes[prefix] == 'k' ? 'K' : kPrefixes[prefix];
  return Value::string(absl::StrCat(text, std::string(1, letter), binary ? "iB" : "B"));
}

Result striptags(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("striptags", arguments, {}).status());
  ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
  return Value::string(strip_tags(text));
}

Result forceescape(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("forceescape", arguments, {}).status());
  ASSIGN_OR_RETURN(std::string text, to_text(budget, input));
  return escaped(budget, Value::string(std::move(text)));
}

Result escape(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("escape", arguments, {}).status());
  return escaped(budget, input);
}

Result safe(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("safe", arguments, {}).status());
  ASSIGN_OR_RETURN(std::string text, to_text(budget, input));
  return Value::markup(std::move(text));
}

std::string url_quoted(std::string_view text, bool in_query) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !in_query);
    if (plain) {
      out += c;
    } else if (c == ' ' && in_query) {
      out += '+';
    } else {
      const auto byte = static_cast<uint8_t>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

Result urlencode(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("urlencode", arguments, {}).status());
  if (input.is_string() || !is_iterable(input)) {
    ASSIGN_OR_RETURN(const std::string text, to_text(budget, input));
    return Value::string(url_quoted(text, false));
  }
  std::vector<Value> pairs;
  if (const Dict* dict = input.as_dict()) {
    for (const Dict::Item& item : dict->items()) {
      ASSIGN_OR_RETURN(Value pair, make_list({item.first, item.second}));
      pairs.push_back(std::move(pair));
    }
  } else {
    ASSIGN_OR_RETURN(pairs, elements_of(budget, input));
  }
  std::string out;
  for (const Value& pair : pairs) {
    ASSIGN_OR_RETURN(const std::vector<Value> parts, elements_of(budget, pair));
    if (parts.size() != 2)
      return absl::InvalidArgumentError("urlencode takes pairs of a key and a value");
    ASSIGN_OR_RETURN(const std::string key, to_text(budget, parts[0]));
    ASSIGN_OR_RETURN(const std::string value, to_text(budget, parts[1]));
    absl::StrAppend(&out, out.empty() ? "" : "&", url_quoted(key, true), "=",
                    url_quoted(value, true));
    RETURN_IF_ERROR(budget.check_size(out.size()));
  }
  return Value::string(std::move(out));
}

Result xmlattr(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("xmlattr", arguments, {"autospace"}));
  const Dict* dict = input.as_dict();
  if (dict == nullptr) return wants_text("xmlattr", input);
  std::string out;
  for (const auto& [key, value] : dict->items()) {
    if (value.is_none() || value.is_undefined()) continue;
    if (!key.is_string()) return absl::InvalidArgumentError("xmlattr: expected string keys");
    if (key.text().find_first_of(std::string_view(" \t\n\r\f\v/>=")) != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("Invalid character in attribute name: ", string_repr(key.text())));
    }
    ASSIGN_OR_RETURN(const Value shown, escaped(budget, value));
    ASSIGN_OR_RETURN(const Value name, escaped(budget, key));
    absl::StrAppend(&out, out.empty() && !bound.truthy(0, true) ? "" : " ", name.text(), "=\"",
                    shown.text(), "\"");
    RETURN_IF_ERROR(budget.check_size(out.size()));
  }
  if (!bound.truthy(0, true) && out.starts_with(' ')) out.erase(0, 1);
  return Value::string(std::move(out));
}

Result pprint(Budget& budget, const Value& input, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("pprint", arguments, {}).status());
  ASSIGN_OR_RETURN(std::string text, pretty_print(budget, input));
  return Value::string(std::move(text));
}

using Entry = std::pair<std::string_view, FilterFunction>;
constexpr std::array<Entry, 12> kFilters = {{
    {"e", escape},
    {"escape", escape},
    {"filesizeformat", filesizeformat},
    {"forceescape", forceescape},
    {"pprint", pprint},
    {"safe", safe},
    {"striptags", striptags},
    {"truncate", truncate},
    {"urlencode", urlencode},
    {"urlize", urlize},
    {"wordwrap", wordwrap},
    {"xmlattr", xmlattr},
}};

}  // namespace

FilterTable layout_filters() { return kFilters; }

}  // namespace conclave::coordinator::jinja
