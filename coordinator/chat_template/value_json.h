#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_JSON_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// INVALID_ARGUMENT for an integer in this JSON text that does not fit int64: JSON readers make it
// another number.
absl::Status check_integers(std::string_view json_text);

// INVALID_ARGUMENT if nested deeper than kMaxValueDepth or binary, or for an integer beyond int64.
absl::StatusOr<Value> value_from_json(const nlohmann::ordered_json& json);

// json.dumps() with these arguments, as Hugging Face's tojson filter calls it.
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // what one level is indented by
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
// INVALID_ARGUMENT for values that JSON does not know (undefined, namespaces, functions, iterators).
absl::StatusOr<std::string> to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_JSON_H_
