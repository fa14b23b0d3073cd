#include "coordinator/openai/status_error.h"

#include <string>
#include <utility>

namespace conclave::coordinator {
namespace {

ApiError server_error(int status, std::string message, std::string code, int retry_after_seconds) {
  ApiError error;
  error.status = status;
  error.message = std::move(message);
  error.type = "server_error";
  error.code = std::move(code);
  error.retry_after_seconds = retry_after_seconds;
  return error;
}

std::string unavailable_code(const EngineStatus& engine) {
  if (engine.draining || engine.state == GroupState::kDraining ||
      engine.state == GroupState::kStopped) {
    return "draining";
  }
  if (engine.state == GroupState::kStarting || engine.state == GroupState::kLoading)
    return "loading";
  return engine.state == GroupState::kFailed ? "engine_failed" : "overloaded";
}

std::string text_of(const absl::Status& status, const char* otherwise) {
  return status.message().empty() ? otherwise
                                  : std::string(status.message().data(), status.message().size());
}

}  // namespace

bool is_ready(const EngineStatus& engine) {
  return engine.state == GroupState::kReady && !engine.draining;
}

ApiError not_ready_error(const EngineStatus& engine) {
  const std::string code = unavailable_code(engine);
  std::string message;
  if (code == "draining") {
    message = "The server is draining: it finishes the requests it has and takes no others.";
  } else if (code == "loading") {
    message = "The model is being loaded.";
  } else {
    message = "The worker group is not serving.";
  }
  if (!engine.last_failure.empty()) message += " Last failure: " + engine.last_failure;
  return server_error(503, std::move(message), code, 1);
}

ApiError api_error_of(const absl::Status& status, const EngineStatus& engine) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return bad_request(text_of(status, "The request does not fit the model."), std::nullopt,
                         "context_length_exceeded");
    case absl::StatusCode::kResourceExhausted: {
      ApiError error =
          server_error(429, text_of(status, "The queue is full."), "rate_limit_exceeded", 1);
      error.type = "rate_limit_error";
      return error;
    }
    case absl::StatusCode::kUnavailable:
      return server_error(503, text_of(status, "The worker group is not serving."),
                          unavailable_code(engine), 1);
    case absl::StatusCode::kCancelled: {
      ApiError error =
          server_error(503, text_of(status, "The server cancelled the request."), "cancelled", 0);
      error.headers.push_back({"x-should-retry", "false"});  // somebody wanted it to end
      return error;
    }
    case absl::StatusCode::kDeadlineExceeded:
      return server_error(504, text_of(status, "The request took too long."), "timeout", 0);
    default:
      break;
  }
  ApiError error = server_error(500, text_of(status, "The engine failed."), "internal_error", 0);
  error.headers.push_back({"x-should-retry", "false"});
  return error;
}

}  // namespace conclave::coordinator
