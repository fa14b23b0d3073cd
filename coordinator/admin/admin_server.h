#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_SERVER_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_SERVER_H_

// The administrators' listener, apart from the public one: /metrics and /health.

#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "coordinator/admin/metrics.h"
#include "coordinator/engine/engine.h"
#include "coordinator/http/http_server.h"

namespace conclave::coordinator {

class AdminServer {
 public:
  // options.address: loopback unless the operator says otherwise. engine and metrics outlive the
  // server.
  static absl::StatusOr<std::unique_ptr<AdminServer>> start(HttpServerOptions options,
                                                            const Engine& engine,
                                                            const Metrics& metrics);
  ~AdminServer();
  uint16_t port() const;
  void stop(std::chrono::milliseconds grace);

 private:
  explicit AdminServer(std::unique_ptr<HttpServer> server);
  std::unique_ptr<HttpServer> server_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_SERVER_H_
