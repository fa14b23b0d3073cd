#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_ARGUMENTS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_ARGUMENTS_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// What a filter, test, method, function or macro is called with.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Arguments matched to parameter names; a parameter that was not given is null.
class BoundArguments {
 public:
  // OUT_OF_RANGE (Python finds this before anything runs) for too many, unknown, doubled, or fewer than
  // `required` arguments.
  static absl::StatusOr<BoundArguments> bind(std::string_view callee, const Arguments& arguments,
                                             std::initializer_list<std::string_view> parameters,
                                             size_t required = 0);
  const Value* get(size_t index) const { return values_[index]; }
  bool truthy(size_t index, bool otherwise) const;
  // Null and None are `otherwise`; INVALID_ARGUMENT if the value is neither int nor bool.
  absl::StatusOr<int64_t> integer(size_t index, int64_t otherwise) const;
  // Null and None are nothing; INVALID_ARGUMENT if the value is no string.
  absl::StatusOr<std::optional<std::string>> text(size_t index) const;

 private:
  std::string callee_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_ARGUMENTS_H_
