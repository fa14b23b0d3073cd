#include "coordinator/admin/admin_server.h"

#include <string>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/admin/admin_audit.h"
#include "coordinator/admin/admin_guard.h"
#include "coordinator/admin/admin_routes.h"

namespace conclave::coordinator {
namespace {

using Servers = std::vector<std::unique_ptr<HttpServer>>;

std::shared_ptr<Router> make_router(std::shared_ptr<const AdminParts> parts) {
  auto router = std::make_shared<Router>();
  add_read_routes(*router, parts);
  add_action_routes(*router, parts);
  add_trace_routes(*router, parts);
  add_page_routes(*router);
  for (const auto& add : parts->routes) add(*router);
  return router;
}

absl::Status listen(HttpServerOptions http, const ApiKeys& keys,
                    std::shared_ptr<const Router> router, Servers* servers) {
  http.threads = 1;
  const AdminGuard guard(keys, http.address);
  http.identify_peer_users = guard.local();  // for the log as well
  http.guard = [guard, audit = std::make_shared<AdminAudit>()](HttpRequest& request) {
    auto refusal = guard.check(request);
    if (refusal) audit->refused(request, *refusal);
    return refusal;
  };
  if (!guard.local() && keys.empty()) {
    log_warning(
        "the admin listener is open to other hosts without a key: it serves /metrics and /health "
        "alone",
        {{"address", http.address}});
  }
  ASSIGN_OR_RETURN(
      auto server,
      HttpServer::start(std::move(http),
                        [router](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
                          responder = AdminAudit::follow(request, std::move(responder));
                          router->handle(std::move(request), std::move(responder));
                        }));
  servers->push_back(std::move(server));
  return absl::OkStatus();
}

}  // namespace

AdminServer::AdminServer(Servers servers) : servers_(std::move(servers)) {}

AdminServer::~AdminServer() = default;

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::start(AdminOptions options,
                                                                AdminParts parts) {
  if (parts.engine == nullptr || parts.metrics == nullptr) {
    return absl::InvalidArgumentError("the admin server needs an engine and metrics");
  }
  const auto router = make_router(std::make_shared<const AdminParts>(std::move(parts)));
  Servers servers;
  RETURN_IF_ERROR(listen(options.http, options.keys, router, &servers));
  if (!options.socket_path.empty()) {
    options.http.address = "unix:" + options.socket_path;
    RETURN_IF_ERROR(listen(options.http, options.keys, router, &servers));
  }
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(servers)));
}

uint16_t AdminServer::port() const { return servers_.front()->port(); }

void AdminServer::stop(std::chrono::milliseconds grace) {
  for (const auto& server : servers_) server->stop(grace);
}

}  // namespace conclave::coordinator
