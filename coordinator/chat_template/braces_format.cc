// str.format() of texts.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/literals.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/number_format.h"
#include "coordinator/chat_template/string_format.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr int kNesting = 2;  // a specification may hold fields, whose specifications may not

struct Field {
  std::string_view name;
  char conversion = 0;
  std::string_view specification;
};

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The characters between the brace at `open` - 1 and the one that closes it.
absl::StatusOr<std::string_view> braced(std::string_view pattern, size_t open) {
  int depth = 1;
  bool bracket = false;
  for (size_t at = open; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c == '[') bracket = true;
    if (c == ']') bracket = false;
    if (bracket) continue;
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (depth == 0) return pattern.substr(open, at - open);
  }
  return bad_format("expected '}' before end of string");
}

// name!conversion:specification
absl::StatusOr<Field> parse_field(std::string_view body) {
  Field field;
  size_t end = 0;
  for (bool bracket = false; end < body.size(); ++end) {
    if (body[end] == '{' && !bracket) return bad_format("unexpected '{' in field name");
    if (body[end] == '[') bracket = true;
    if (body[end] == ']') bracket = false;
    if (!bracket && (body[end] == '!' || body[end] == ':')) break;
  }
  field.name = body.substr(0, end);
  if (end < body.size() && body[end] == '!') {
    if (end + 1 >= body.size())
      return bad_format("end of string while looking for conversion specifier");
    field.conversion = body[end + 1];
    end += 2;
    if (end < body.size() && body[end] != ':')
      return bad_format("expected ':' after conversion specifier");
  }
  if (end < body.size()) field.specification = body.substr(end + 1);
  return field;
}

class Formatter {
 public:
  Formatter(Budget& budget, const Arguments& arguments, bool escape)
      : budget_(budget), arguments_(arguments), escape_(escape) {}

  absl::StatusOr<std::string> format(std::string_view pattern, int nesting) {
    if (nesting < 0) return bad_format("Max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < pattern.size();) {
      const char c = pattern[at++];
      const bool doubled = at < pattern.size() && pattern[at] == c;
      if ((c == '{' || c == '}') && doubled) {
        out += c;
        ++at;
      } else if (c == '}') {
        return bad_format("Single '}' encountered in format string");
      } else if (c != '{') {
        out += c;
      } else {
        if (at == pattern.size()) return bad_format("Single '{' encountered in format string");
        ASSIGN_OR_RETURN(const std::string_view body, braced(pattern, at));
        at += body.size() + 1;
        ASSIGN_OR_RETURN(const std::string text, format_field(body, nesting));
        out += text;
        RETURN_IF_ERROR(budget_.charge_bytes(text.size()));
        RETURN_IF_ERROR(budget_.check_size(out.size()));
      }
    }
    return out;
  }

 private:
  absl::StatusOr<std::string> format_field(std::string_view body, int nesting) {
    RETURN_IF_ERROR(budget_.charge_steps(1));
    ASSIGN_OR_RETURN(const Field field, parse_field(body));
    ASSIGN_OR_RETURN(Value value, find(field.name));
    ASSIGN_OR_RETURN(value, converted(std::move(value), field.conversion));
    ASSIGN_OR_RETURN(const std::string specification, format(field.specification, nesting - 1));
    ASSIGN_OR_RETURN(std::string text, format_value(budget_, value, specification));
    return escape_ && nesting == kNesting && !value.is_markup() ? escape_html(text) : text;
  }

  absl::StatusOr<Value> converted(Value value, char conversion) {
    if (conversion == 0) return value;
    if (conversion == 's') {
      ASSIGN_OR_RETURN(std::string text, to_text(budget_, value));
      return Value::string(std::move(text));
    }
    if (conversion != 'r' && conversion != 'a') return bad_format("Unknown conversion specifier");
    ASSIGN_OR_RETURN(std::string text, to_repr(budget_, value));
    return Value::string(conversion == 'a' ? ascii_repr(text) : std::move(text));
  }

  // first.attribute[item]...
  absl::StatusOr<Value> find(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    ASSIGN_OR_RETURN(Value value, first(name.substr(0, end)));
    for (std::string_view rest = name.substr(end); !rest.empty();) {
      if (rest[0] == '.') {
        const size_t stop = std::min(rest.find_first_of(".[", 1), rest.size());
        if (stop == 1) return bad_format("Empty attribute in format string");
        ASSIGN_OR_RETURN(value, get_attribute(value, rest.substr(1, stop - 1)));
        rest.remove_prefix(stop);
        continue;
      }
      const size_t close = rest.find(']');
      if (rest[0] != '[')
        return bad_format("Only '.' or '[' may follow ']' in format field specifier");
      if (close == std::string_view::npos) return bad_format("Missing ']' in format string");
      const std::string_view key = rest.substr(1, close - 1);
      if (key.empty()) return bad_format("Empty attribute in format string");
      const std::optional<int64_t> index =
          all_digits(key) ? parse_python_int(key, 10) : std::nullopt;
      ASSIGN_OR_RETURN(
          value, get_item(budget_, value, index ? Value::integer(*index) : Value::string(key)));
      rest.remove_prefix(close + 1);
    }
    return value;
  }

  absl::StatusOr<Value> first(std::string_view name) {
    if (!name.empty() && !all_digits(name)) {
      for (const auto& [key, value] : arguments_.named) {
        if (key == name) return value;
      }
      return bad_format(absl::StrCat("no field '", std::string(name), "'"));
    }
    const bool automatic = name.empty();
    if (numbered_ && *numbered_ == automatic)
      return bad_format("cannot switch between manual and automatic field numbering");
    numbered_ = !automatic;
    const std::optional<int64_t> given = automatic ? std::nullopt : parse_python_int(name, 10);
    const size_t index = automatic ? next_++
                         : given   ? static_cast<size_t>(*given)
                                   : arguments_.positional.size();
    if (index < arguments_.positional.size()) return arguments_.positional[index];
    return bad_format("Replacement index out of range for positional args tuple");
  }

  Budget& budget_;
  const Arguments& arguments_;
  const bool escape_;
  size_t next_ = 0;
  std::optional<bool> numbered_;  // by hand
};

}  // namespace

absl::StatusOr<Value> format_braces(Budget& budget, const Value& pattern,
                                    const Arguments& arguments) {
  Formatter formatter(budget, arguments, pattern.is_markup());
  ASSIGN_OR_RETURN(std::string out, formatter.format(pattern.text(), kNesting));
  RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  return text_like(pattern, std::move(out));
}

}  // namespace conclave::coordinator::jinja
