#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PARSER_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/ast.h"

namespace conclave::coordinator::jinja {

// A whole template. Errors: INVALID_ARGUMENT "line N: ...".
absl::StatusOr<ScopedBody> parse_template(std::string_view source);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PARSER_H_
