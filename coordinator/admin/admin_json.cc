#include "coordinator/admin/admin_json.h"

#include <nlohmann/json.hpp>

#include "coordinator/http/error_response.h"

namespace conclave::coordinator {

void respond_status(HttpResponder& responder, const absl::Status& status) {
  int code = 500;
  std::string name = "internal";
  if (absl::IsInvalidArgument(status)) {
    code = 400;
    name = "invalid_argument";
  } else if (absl::IsNotFound(status)) {
    code = 404;
    name = "not_found";
  } else if (absl::IsFailedPrecondition(status)) {
    code = 409;
    name = "failed_precondition";
  } else if (absl::IsUnavailable(status)) {
    code = 503;
    name = "unavailable";
  }
  const nlohmann::ordered_json body{
      {"error", {{"code", name}, {"message", std::string(status.message())}}}};
  respond_json(responder, code, body.dump());
}

}  // namespace conclave::coordinator
