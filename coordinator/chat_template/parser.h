#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PARSER_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PARSER_H_

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/ast.h"

namespace conclave::coordinator::jinja {

struct ParsedTemplate {
  ScopedBody body;
  std::set<std::string> outside;      // names of variables and functions that it takes from outside
  std::set<std::string> literals;     // the texts of its string literals
  std::vector<std::string> warnings;  // "line N: ...": what fails if it is reached
};

// A whole template. Errors: INVALID_ARGUMENT "line N: ...", also for filters and tests that do not
// exist.
absl::StatusOr<ParsedTemplate> parse_template(std::string_view source);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PARSER_H_
