#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LINK_FILTER_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LINK_FILTER_H_

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// The filter urlize: escaped text in which addresses of the web and of mail are HTML links.
absl::StatusOr<Value> urlize(Budget& budget, const Value& input, const Arguments& arguments);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LINK_FILTER_H_
