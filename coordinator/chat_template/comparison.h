#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_COMPARISON_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_COMPARISON_H_

#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

enum class Ordering { kLess, kLessEqual, kGreater, kGreaterEqual };

// Python's ==. Charges a step per element compared.
absl::StatusOr<bool> equals(Budget& budget, const Value& a, const Value& b);
// Python's <, <=, >, >=; INVALID_ARGUMENT where Python raises TypeError.
absl::StatusOr<bool> ordered(Budget& budget, Ordering ordering, const Value& a, const Value& b);
// INVALID_ARGUMENT for what Python cannot hash, such as lists and tuples of lists.
absl::Status check_hashable(const Value& value);
// Python's `item in container`.
absl::StatusOr<bool> contains(Budget& budget, const Value& container, const Value& item);

// sorted(): stable. keys[i] belongs to items[i].
absl::StatusOr<std::vector<Value>> sort_by_key(Budget& budget, std::vector<Value> items,
                                               const std::vector<Value>& keys, bool reverse);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_COMPARISON_H_
