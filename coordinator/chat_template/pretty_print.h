#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PRETTY_PRINT_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PRETTY_PRINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// What Python's pprint.pformat() writes: repr() with sorted dicts, broken into lines of 80
// characters.
absl::StatusOr<std::string> pretty_print(Budget& budget, const Value& value);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PRETTY_PRINT_H_
