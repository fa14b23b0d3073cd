#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_TEXT_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_TEXT_H_

// Python's str() and repr() of values.

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

std::string float_repr(double value);
std::string string_repr(std::string_view text);
std::string ascii_repr(std::string_view repr);  // ascii() of what repr() gave

// Appends str(value); charges what it writes.
absl::Status append_text(Budget& budget, const Value& value, std::string& out);
absl::StatusOr<std::string> to_text(Budget& budget, const Value& value);
absl::StatusOr<std::string> to_repr(Budget& budget, const Value& value);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_TEXT_H_
