#ifndef CONCLAVE_COORDINATOR_HTTP_HTTP_SERVER_H_
#define CONCLAVE_COORDINATOR_HTTP_HTTP_SERVER_H_

// An HTTP/1.1 server: keep-alive, pipelining (one request of a connection at a time), chunked
// streams, limits on everything a client controls. No TLS: put a proxy in front where the network
// is not trusted.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/http/cors.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// What was answered, for metrics and the access log.
struct HttpExchange {
  std::string method;  // "" where the request could not be parsed
  std::string path;
  int status = 0;      // 499: the client left before an answer began
  double seconds = 0;  // from the complete request to the complete answer
};

// Looks at a request whose head is there and whose body was not read. An error is the answer (a
// missing API key); otherwise it may note what it found out (HttpRequest::key).
using HttpGuard = std::function<std::optional<ApiError>(HttpRequest& request)>;

struct HttpServerOptions {
  std::string address = "127.0.0.1";  // or "unix:PATH": a socket that only this user may open
  uint16_t port = 0;                  // 0: any free port
  int threads = 2;
  size_t max_header_bytes = 32 << 10;       // beyond: 431
  size_t max_body_bytes = 8 << 20;          // beyond: 413
  size_t max_total_body_bytes = 256 << 20;  // of all requests that are there or come in; beyond:
                                            // 503, before the body is read if its length is known
  size_t max_connections = 4096;            // beyond: 503
  size_t max_stream_queue_bytes =
      1 << 20;                       // unsent bytes of one stream; beyond: the client is dropped
  int socket_send_buffer_bytes = 0;  // of the kernel; 0: it decides
  std::chrono::milliseconds header_timeout{
      10000};  // from a request's first byte to its header's end; then 408
  std::chrono::milliseconds body_timeout{30000};  // from the header's end to the body's; then 408
  std::chrono::milliseconds idle_timeout{75000};  // between requests; then a quiet close
  std::chrono::milliseconds write_timeout{
      30000};                        // without one byte taken by the client; then it is dropped
  bool identify_peer_users = false;  // fill HttpPeer::uid
  HttpGuard guard;                   // any I/O thread; null: all requests are handled
  CorsPolicy cors;                   // preflights that it allows or not are answered unguarded
  std::function<void(const HttpExchange&)> on_exchange;  // any I/O thread
};

// Thread-safe. The handler runs on an I/O thread and must not block on other requests.
class HttpServer {
 public:
  // Listens and starts the threads. INVALID_ARGUMENT for an address that is none, UNAVAILABLE if
  // the port or the socket's path cannot be taken.
  static absl::StatusOr<std::unique_ptr<HttpServer>> start(HttpServerOptions options,
                                                           HttpHandler handler);
  virtual ~HttpServer() = default;    // stops at once
  virtual uint16_t port() const = 0;  // 0 for a Unix socket
  virtual size_t open_connections() const = 0;
  // Stops accepting, closes idle connections, lets answers in progress finish for `grace`, cuts the
  // rest. Blocks; never on an I/O thread. Idempotent.
  virtual void stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_HTTP_SERVER_H_
