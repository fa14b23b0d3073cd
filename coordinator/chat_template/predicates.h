#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PREDICATES_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PREDICATES_H_

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

using PredicateFunction = absl::StatusOr<bool> (*)(Budget&, const Value& subject,
                                                   const Arguments&);

// Jinja's tests, what stands after `is` ("defined", "string", "divisibleby"). Null if unknown.
PredicateFunction find_predicate(std::string_view name);
std::vector<std::string_view> predicate_names();

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_PREDICATES_H_
