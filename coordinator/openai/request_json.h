#ifndef CONCLAVE_COORDINATOR_OPENAI_REQUEST_JSON_H_
#define CONCLAVE_COORDINATOR_OPENAI_REQUEST_JSON_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "coordinator/http/error_response.h"

namespace conclave::coordinator {

using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 64;

// Strict JSON: UTF-8, one object, at most kMaxJsonDepth levels, no key twice in an object, no NaN,
// no number beyond a double. Any input is safe; time is linear in its length. Keys keep their
// order.
std::optional<ApiError> parse_json_object(std::string_view text, Json* object);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_REQUEST_JSON_H_
