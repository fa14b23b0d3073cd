#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_FILTERS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_FILTERS_H_

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

using FilterFunction = absl::StatusOr<Value> (*)(Budget&, const Value& input, const Arguments&);
using FilterTable = std::span<const std::pair<std::string_view, FilterFunction>>;

// All of Jinja's built-in filters, with Hugging Face's tojson. Null if unknown.
FilterFunction find_filter(std::string_view name);
std::vector<std::string_view> filter_names();

// What they are made of, one file each.
FilterTable text_filters();
FilterTable layout_filters();
FilterTable scalar_filters();
FilterTable sequence_filters();
FilterTable grouping_filters();
FilterTable selection_filters();

Value failing_iterator(absl::Status failure);
// A filter that Python runs as a generator: it fails when its first item is asked for, not before.
template <FilterFunction filter>
absl::StatusOr<Value> lazily(Budget& budget, const Value& input, const Arguments& arguments) {
  absl::StatusOr<Value> result = filter(budget, input, arguments);
  if (!absl::IsInvalidArgument(result.status())) return result;
  return failing_iterator(result.status());
}
// An attribute path as filters take it: "function.name", "0", or an integer. Looks it up in item;
// what is undefined on the way becomes *otherwise, if there is one.
absl::StatusOr<Value> follow_path(Budget& budget, const Value& item, const Value& path,
                                  const Value* otherwise = nullptr);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_FILTERS_H_
