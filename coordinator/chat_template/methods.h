#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_METHODS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_METHODS_H_

// The methods of Python's str, dict, list and tuple that templates may call. Those that would change
// a list or dict are refused, as Hugging Face renders templates in Jinja's immutable sandbox.

#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

using Method = absl::StatusOr<Value> (*)(Budget&, const Value& self, const Arguments&);

// Null if the value's type has no such method.
Method find_method(const Value& self, std::string_view name);
// A method that Python has and the sandbox forbids.
bool is_forbidden_method(const Value& self, std::string_view name);

Method find_string_method(std::string_view name);     // editing and searching
Method find_string_predicate(std::string_view name);  // isdigit() and its like
Method find_dict_method(std::string_view name);
Method find_sequence_method(std::string_view name);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_METHODS_H_
