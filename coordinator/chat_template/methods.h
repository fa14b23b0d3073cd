#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_METHODS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_METHODS_H_

// The methods of Python's str, dict, list, tuple, range, int and float that templates may call.
// Those that would change a list or dict are refused, as Hugging Face renders templates in Jinja's
// immutable sandbox.

#include <optional>
#include <string_view>
#include <vector>

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

Method find_markup_method(std::string_view name);  // what markup has beyond text
Method find_number_method(const Value& self, std::string_view name);
// real, imag, numerator, denominator.
std::optional<Value> number_attribute(const Value& self, std::string_view name);
// Stands for methods that make bytes or hexadecimal floats, which have no place here: always an
// error.
absl::StatusOr<Value> refused_method(Budget& budget, const Value& self, const Arguments& arguments);
// Runs a method of find_method(); on markup as Markup runs it.
absl::StatusOr<Value> call_method(Budget& budget, const Value& self, std::string_view name,
                                  const Arguments& arguments);

Method find_string_method(std::string_view name);     // editing and searching
Method find_string_predicate(std::string_view name);  // isdigit() and its like
Method find_dict_method(std::string_view name);
Method find_sequence_method(std::string_view name);

// For the list of what is known.
std::vector<std::string_view> string_method_names();
std::vector<std::string_view> string_predicate_names();
std::vector<std::string_view> dict_method_names();
std::vector<std::string_view> sequence_method_names(SequenceKind kind);
std::vector<std::string_view> number_method_names(bool of_float);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_METHODS_H_
