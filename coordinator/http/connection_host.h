#ifndef CONCLAVE_COORDINATOR_HTTP_CONNECTION_HOST_H_
#define CONCLAVE_COORDINATOR_HTTP_CONNECTION_HOST_H_

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "coordinator/http/body_budget.h"
#include "coordinator/http/http_server.h"

namespace conclave::coordinator {

class Connection;

// What connections need of their server. Each connection shares it, so that a responder which
// outlives the server still finds an event loop to be dropped into.
struct ConnectionHost {
  boost::asio::io_context io;
  HttpServerOptions options;
  HttpHandler handler;
  std::shared_ptr<BodyBudget> bodies;
  std::atomic<bool> stopping{false};  // no further requests
  std::atomic<bool> stopped{false};   // the event loop does not run any more

  std::mutex mutex;
  std::condition_variable connection_closed;
  std::unordered_map<const Connection*, std::weak_ptr<Connection>> open;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CONNECTION_HOST_H_
