#ifndef CONCLAVE_COORDINATOR_HTTP_ERROR_RESPONSE_H_
#define CONCLAVE_COORDINATOR_HTTP_ERROR_RESPONSE_H_

#include <optional>
#include <string>

#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// What a client is told when something fails, in the shape that OpenAI clients read.
struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::optional<std::string> param;  // the offending field, "messages[0].content"
  std::optional<std::string> code;
  int retry_after_seconds = 0;  // > 0: sent as Retry-After
  HttpHeaders headers;          // further headers of the response
};

ApiError bad_request(std::string message, std::optional<std::string> param,
                     std::optional<std::string> code);
// {"error":{"message":…,"type":…,"param":…,"code":…}}
std::string error_json(const ApiError& error);
// Those of the answer, Content-Type and Retry-After among them.
HttpHeaders headers_of(const ApiError& error);
void respond_error(HttpResponder& responder, const ApiError& error);
void respond_json(HttpResponder& responder, int status, std::string json);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_ERROR_RESPONSE_H_
