#include "coordinator/chat_template/arguments.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator::jinja {

absl::StatusOr<BoundArguments> BoundArguments::bind(
    std::string_view callee, const Arguments& arguments,
    std::initializer_list<std::string_view> parameters, size_t required) {
  BoundArguments bound;
  bound.callee_ = std::string(callee);
  bound.names_ = parameters;
  bound.values_.assign(parameters.size(), nullptr);
  if (arguments.positional.size() > parameters.size()) {
    return absl::OutOfRangeError(absl::StrCat(bound.callee_, "() takes at most ",
                                                   parameters.size(), " argument(s), but got ",
                                                   arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    bound.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(bound.names_.begin(), bound.names_.end(), name);
    if (found == bound.names_.end() || name.empty()) {
      return absl::OutOfRangeError(
          absl::StrCat(bound.callee_, "() got an unexpected keyword argument '", name, "'"));
    }
    const Value*& slot = bound.values_[static_cast<size_t>(found - bound.names_.begin())];
    if (slot != nullptr) {
      return absl::OutOfRangeError(
          absl::StrCat(bound.callee_, "() got multiple values for argument '", name, "'"));
    }
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.values_[i] != nullptr) continue;
    return absl::OutOfRangeError(
        absl::StrCat(bound.callee_, "() is missing argument ", i + 1));
  }
  return bound;
}

bool BoundArguments::truthy(size_t index, bool otherwise) const {
  return values_[index] == nullptr ? otherwise : values_[index]->truthy();
}

absl::StatusOr<int64_t> BoundArguments::integer(size_t index, int64_t otherwise) const {
  const Value* value = values_[index];
  if (value == nullptr || value->is_none()) return otherwise;
  if (const std::optional<int64_t> number = value->integral()) return *number;
  return absl::InvalidArgumentError(absl::StrCat(callee_, "(): argument ", index + 1,
                                                 " must be an integer, not '", value->type_name(),
                                                 "'"));
}

absl::StatusOr<std::optional<std::string>> BoundArguments::text(size_t index) const {
  const Value* value = values_[index];
  if (value == nullptr || value->is_none()) return std::optional<std::string>();
  if (value->is_string()) return std::optional<std::string>(value->text());
  return absl::InvalidArgumentError(absl::StrCat(callee_, "(): argument ", index + 1,
                                                 " must be a string, not '", value->type_name(),
                                                 "'"));
}

}  // namespace conclave::coordinator::jinja
