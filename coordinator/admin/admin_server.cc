#include "coordinator/admin/admin_server.h"

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/admin/health_report.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/router.h"

namespace conclave::coordinator {
namespace {

std::shared_ptr<Router> make_router(const Engine& engine, const Metrics& metrics) {
  auto router = std::make_shared<Router>();
  router->add(
      "GET", "/metrics",
      [&metrics](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
        responder->respond(200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
                           metrics.exposition());
      });
  router->add("GET", "/health",
              [&engine](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
                respond_json(*responder, 200, health_report(engine.status()));
              });
  return router;
}

}  // namespace

AdminServer::AdminServer(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}

AdminServer::~AdminServer() = default;

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::start(HttpServerOptions options,
                                                                const Engine& engine,
                                                                const Metrics& metrics) {
  options.threads = 1;
  ASSIGN_OR_RETURN(
      auto server,
      HttpServer::start(std::move(options),
                        [router = make_router(engine, metrics)](
                            HttpRequest request, std::shared_ptr<HttpResponder> responder) {
                          router->handle(std::move(request), std::move(responder));
                        }));
  return std::unique_ptr<AdminServer>(new AdminServer(std::move(server)));
}

uint16_t AdminServer::port() const { return server_->port(); }

void AdminServer::stop(std::chrono::milliseconds grace) { server_->stop(grace); }

}  // namespace conclave::coordinator
