#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_FORMAT_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_FORMAT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// Python's `pattern % operand`: conversions s r d i u f F e E g G x X o c %, flags, width, precision,
// and %(key)s with a dict.
absl::StatusOr<Value> format_percent(Budget& budget, std::string_view pattern,
                                     const Value& operand);
// str.format(): {}, {0}, {name}, !r and !s; format specifications: [[fill]align][0][width][.precision][type].
absl::StatusOr<Value> format_braces(Budget& budget, std::string_view pattern,
                                    const Arguments& arguments);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_FORMAT_H_
