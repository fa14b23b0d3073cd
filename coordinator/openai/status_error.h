#ifndef CONCLAVE_COORDINATOR_OPENAI_STATUS_ERROR_H_
#define CONCLAVE_COORDINATOR_OPENAI_STATUS_ERROR_H_

#include "absl/status/status.h"
#include "coordinator/engine/engine.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {

// How a refusal or failure of the engine looks to a client: 400, 429 and 503 with Retry-After
// (official clients then retry by themselves), 504, or 500 that says not to retry.
ApiError api_error_of(const absl::Status& status, const EngineStatus& engine);
// 503 for an engine that is not ready: starting, loading, failed, draining, stopped.
ApiError not_ready_error(const EngineStatus& engine);
bool is_ready(const EngineStatus& engine);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_STATUS_ERROR_H_
