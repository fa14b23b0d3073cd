#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_FILTERS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_FILTERS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

using FilterFunction = absl::StatusOr<Value> (*)(Budget&, const Value& input, const Arguments&);

// Jinja's built-in filters as chat templates use them, with Hugging Face's tojson. Null if unknown.
FilterFunction find_filter(std::string_view name);

FilterFunction find_text_filter(std::string_view name);
FilterFunction find_scalar_filter(std::string_view name);
FilterFunction find_sequence_filter(std::string_view name);
FilterFunction find_selection_filter(std::string_view name);

// An attribute path as filters take it: "function.name", "0", or an integer. Looks it up in item.
absl::StatusOr<Value> follow_path(Budget& budget, const Value& item, const Value& path);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_FILTERS_H_
