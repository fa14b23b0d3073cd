#ifndef CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_CLIENT_H_
#define CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_CLIENT_H_

// A small asynchronous HTTP/1.1 client for our own API: `conclave ask` and the load generators.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/http/client/host_lookup.h"
#include "coordinator/http/client/http_endpoint.h"

namespace conclave::coordinator {

struct HttpAnswer {
  int status = 0;         // 0: no answer, see error
  std::string body;       // empty for an event stream
  absl::Status error;     // connection refused, closed early, timed out
};

class HttpClient {
 public:
  struct Options {
    HttpEndpoint endpoint;
    std::string api_key;                    // empty: none
    std::chrono::milliseconds timeout{600000};  // of a whole exchange, looking up the host's name included
    HostResolver resolver = resolve_host;       // for names; addresses are taken as they are
  };
  // One I/O thread of its own runs all exchanges and every callback.
  static std::unique_ptr<HttpClient> create(Options options);
  virtual ~HttpClient() = default;  // ends open exchanges without callbacks

  // on_event: the data of each server-sent event, without "data: "; may be empty for plain requests.
  // on_done: once, last. Thread-safe; a new connection each.
  virtual void send(std::string method, std::string path, std::string body,
                    std::function<void(std::string_view data)> on_event, std::function<void(HttpAnswer)> on_done) = 0;
  // Waits for the answer of a plain request.
  HttpAnswer call(const std::string& method, const std::string& path, const std::string& body = "");
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_CLIENT_H_
