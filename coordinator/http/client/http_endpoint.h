#ifndef CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_ENDPOINT_H_
#define CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_ENDPOINT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

struct HttpEndpoint {
  std::string host;
  uint16_t port = 0;
  std::string socket_path;  // not empty: a Unix socket instead
};
// "http://127.0.0.1:8000" (a path behind it is ignored) or "unix:/run/conclave/admin.sock".
// INVALID_ARGUMENT with a sentence for anything else.
absl::StatusOr<HttpEndpoint> parse_http_endpoint(std::string_view url);
std::string to_string(const HttpEndpoint& endpoint);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_ENDPOINT_H_
