#include "coordinator/http/error_response.h"

#include <utility>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {
namespace {

void append_optional(std::string* out, const std::optional<std::string>& value) {
  if (value.has_value()) {
    append_json_string(out, *value);
  } else {
    out->append("null");
  }
}

}  // namespace

ApiError bad_request(std::string message, std::optional<std::string> param,
                     std::optional<std::string> code) {
  ApiError error;
  error.message = std::move(message);
  error.param = std::move(param);
  error.code = std::move(code);
  return error;
}

std::string error_json(const ApiError& error) {
  std::string out = "{\"error\":{\"message\":";
  append_json_string(&out, error.message);
  out.append(",\"type\":");
  append_json_string(&out, error.type);
  out.append(",\"param\":");
  append_optional(&out, error.param);
  out.append(",\"code\":");
  append_optional(&out, error.code);
  out.append("}}");
  return out;
}

HttpHeaders headers_of(const ApiError& error) {
  HttpHeaders headers = error.headers;
  headers.push_back({"Content-Type", "application/json"});
  if (error.retry_after_seconds > 0)
    headers.push_back({"Retry-After", std::to_string(error.retry_after_seconds)});
  return headers;
}

void respond_error(HttpResponder& responder, const ApiError& error) {
  responder.respond(error.status, headers_of(error), error_json(error));
}

void respond_json(HttpResponder& responder, int status, std::string json) {
  responder.respond(status, {{"Content-Type", "application/json"}}, std::move(json));
}

}  // namespace conclave::coordinator
