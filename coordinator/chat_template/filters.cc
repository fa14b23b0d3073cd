#include "coordinator/chat_template/filters.h"

#include <algorithm>

#include "base/status_macros.h"
#include "coordinator/chat_template/literals.h"
#include "coordinator/chat_template/subscript.h"

namespace conclave::coordinator::jinja {

FilterFunction find_filter(std::string_view name) {
  if (FilterFunction filter = find_text_filter(name)) return filter;
  if (FilterFunction filter = find_scalar_filter(name)) return filter;
  if (FilterFunction filter = find_sequence_filter(name)) return filter;
  return find_selection_filter(name);
}

absl::StatusOr<Value> follow_path(Budget& budget, const Value& item, const Value& path) {
  if (!path.is_string()) return get_item(budget, item, path);
  Value current = item;
  std::string_view rest = path.text();
  for (bool more = true; more;) {
    const size_t dot = rest.find('.');
    more = dot != std::string_view::npos;
    const std::string_view part = rest.substr(0, dot);
    if (more) rest.remove_prefix(dot + 1);
    const bool digits = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return c >= '0' && c <= '9';
    });
    const std::optional<int64_t> index = digits ? parse_python_int(part, 10) : std::nullopt;
    ASSIGN_OR_RETURN(current, get_item(budget, current,
                                       index ? Value::integer(*index) : Value::string(part)));
  }
  return current;
}

}  // namespace conclave::coordinator::jinja
