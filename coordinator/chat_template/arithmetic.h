#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_ARITHMETIC_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_ARITHMETIC_H_

#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

enum class Arithmetic { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };

// Python's binary operators on numbers (int64: overflow is an error), text and lists.
absl::StatusOr<Value> apply_arithmetic(Budget& budget, Arithmetic op, const Value& a,
                                       const Value& b);
// Unary plus and minus.
absl::StatusOr<Value> apply_sign(bool negative, const Value& operand);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_ARITHMETIC_H_
