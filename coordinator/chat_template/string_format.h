#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_FORMAT_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_FORMAT_H_

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// Python's `pattern % operand`. pattern: text; markup escapes what it takes in.
absl::StatusOr<Value> format_percent(Budget& budget, const Value& pattern, const Value& operand);
// str.format() as Jinja's sandbox runs it: fields, attributes, items, conversions, nested
// specifications.
absl::StatusOr<Value> format_braces(Budget& budget, const Value& pattern,
                                    const Arguments& arguments);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_FORMAT_H_
