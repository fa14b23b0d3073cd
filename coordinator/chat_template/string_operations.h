#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_OPERATIONS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_OPERATIONS_H_

// Text operations that Jinja offers both as filters and as Python's string methods.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// At most `count` replacements; all if negative. An empty `from` matches between code points.
absl::StatusOr<std::string> replace_text(Budget& budget, std::string_view text,
                                         std::string_view from, std::string_view to,
                                         int64_t count);
absl::StatusOr<std::string> join_texts(Budget& budget, std::string_view separator,
                                       const std::vector<Value>& items);
std::string capitalize_text(std::string_view text);
// str.center(); the odd space goes where Python puts it.
absl::StatusOr<std::string> center_text(Budget& budget, std::string_view text, int64_t width,
                                        std::string_view fill);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STRING_OPERATIONS_H_
