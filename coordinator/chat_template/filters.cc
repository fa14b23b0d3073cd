#include "coordinator/chat_template/filters.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/chat_template/literals.h"
#include "coordinator/chat_template/subscript.h"

namespace conclave::coordinator::jinja {

namespace {

std::array<FilterTable, 6> tables() {
  return {text_filters(),     layout_filters(),   scalar_filters(),
          sequence_filters(), grouping_filters(), selection_filters()};
}

}  // namespace

FilterFunction find_filter(std::string_view name) {
  for (const FilterTable& table : tables()) {
    for (const auto& [key, filter] : table) {
      if (key == name) return filter;
    }
  }
  return nullptr;
}

Value failing_iterator(absl::Status failure) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = SequenceKind::kIterator;
  sequence->failure = std::move(failure);
  return Value::of(std::move(sequence));
}

std::vector<std::string_view> filter_names() {
  std::vector<std::string_view> names;
  for (const FilterTable& table : tables()) {
    for (const auto& entry : table) names.push_back(entry.first);
  }
  return names;
}

absl::StatusOr<Value> follow_path(Budget& budget, const Value& item, const Value& path,
                                  const Value* otherwise) {
  if (path.is_none()) return item;
  if (!path.is_string()) {
    ASSIGN_OR_RETURN(Value found, get_item(budget, item, path));
    return found.is_undefined() && otherwise != nullptr ? *otherwise : found;
  }
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
    if (current.is_undefined() && otherwise != nullptr) current = *otherwise;
  }
  return current;
}

}  // namespace conclave::coordinator::jinja
