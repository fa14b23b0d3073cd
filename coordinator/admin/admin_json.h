#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_JSON_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_JSON_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// {"error":{"code","message"}} with the HTTP status of the code: 400 INVALID_ARGUMENT, 404
// NOT_FOUND, 409 FAILED_PRECONDITION, 503 UNAVAILABLE, else 500.
void respond_status(HttpResponder& responder, const absl::Status& status);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_JSON_H_
