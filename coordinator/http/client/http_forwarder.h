#ifndef CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_FORWARDER_H_
#define CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_FORWARDER_H_

#include <memory>

#include "coordinator/http/client/http_endpoint.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// Passes requests on to another server of the same API and its answers back, streams as they come.
// Headers travel except those of the connection itself; the request id stays. A server that cannot
// be reached gives 503 with Retry-After, an answer that breaks off is cut for the client as well.
class HttpForwarder {
 public:
  // One I/O thread of its own.
  static std::unique_ptr<HttpForwarder> create(HttpEndpoint endpoint);
  virtual ~HttpForwarder() = default;  // cuts what is open
  // Thread-safe, returns at once.
  virtual void forward(HttpRequest request, std::shared_ptr<HttpResponder> responder) = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CLIENT_HTTP_FORWARDER_H_
