#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_SERVER_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_SERVER_H_

// The administrators' listener, apart from the public one: /metrics, /health, the live page /ui and
// the verbs of conclavectl under /admin/v1.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/admin/metrics.h"
#include "coordinator/admin/model_folder_watch.h"
#include "coordinator/admin/rank_logs.h"
#include "coordinator/engine/engine.h"
#include "coordinator/http/api_keys.h"
#include "coordinator/http/http_server.h"
#include "coordinator/http/router.h"
#include "model/model_spec.h"

namespace conclave::coordinator {

struct AdminOptions {
  HttpServerOptions http;   // loopback unless the operator says otherwise
  std::string socket_path;  // "" or a Unix socket that answers as well
  ApiKeys keys;  // guard all but the static page. Without keys a listener beyond loopback serves
                 // /metrics and /health alone, and a local one its own user's processes.
};

// What the verbs are about. All of it outlives the server.
struct AdminParts {
  Engine* engine = nullptr;
  const Metrics* metrics = nullptr;
  std::string version, model_name, model_path;
  model::ModelSpec spec;
  // Of model_path; null: not watched.
  std::shared_ptr<const ModelFolderWatch> model_folder;
  std::shared_ptr<const RankLogs> rank_logs;  // null: they are not kept
  // Settings in effect, by flag name; no secrets.
  std::vector<std::pair<std::string, std::string>> config;
  // The public API without its keys, for the page's prompt box; null: none.
  HttpHandler generate;
  // Routes of other parts: placement, profiles.
  std::vector<std::function<void(Router&)>> routes;
};

class AdminServer {
 public:
  static absl::StatusOr<std::unique_ptr<AdminServer>> start(AdminOptions options, AdminParts parts);
  ~AdminServer();
  uint16_t port() const;
  void stop(std::chrono::milliseconds grace);

 private:
  explicit AdminServer(std::vector<std::unique_ptr<HttpServer>> servers);
  std::vector<std::unique_ptr<HttpServer>> servers_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_SERVER_H_
