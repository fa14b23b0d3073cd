#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_NAME_CHECK_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_NAME_CHECK_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/ast.h"

namespace conclave::coordinator::jinja {

// Filters, tests and functions that do not exist, found before the first render. As in Jinja an
// unknown filter or test is an error (INVALID_ARGUMENT "line N: ..."), but below an if statement or
// expression it fails only where it is reached: that is a warning, as is the call of a function
// from `outside` that nobody provides.
absl::StatusOr<std::vector<std::string>> check_names(const Body& body,
                                                     const std::set<std::string>& outside);

// The texts of all string literals.
std::set<std::string> string_literals(const Body& body);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_NAME_CHECK_H_
