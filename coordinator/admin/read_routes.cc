#include <chrono>
#include <string>
#include <utility>

#include "coordinator/admin/admin_routes.h"
#include "coordinator/admin/documents.h"
#include "coordinator/admin/health_report.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {
namespace {

constexpr std::chrono::milliseconds kPatience{5000};

using Responder = std::shared_ptr<HttpResponder>;

std::string text_of(const AdminJson& json) {
  return json.dump(-1, ' ', false, AdminJson::error_handler_t::replace);
}

void add_document(Router& router, const char* path, std::function<AdminJson()> make) {
  router.add("GET", path,
             [make = std::move(make)](HttpRequest, const std::string&, Responder responder) {
               respond_json(*responder, 200, text_of(make()));
             });
}

void respond_requests(const AdminParts& parts, HttpResponder& responder) {
  const auto requests = parts.engine->requests(kPatience);
  if (requests.ok()) return respond_json(responder, 200, text_of(requests_document(*requests)));
  ApiError error = bad_request(std::string(requests.status().message()), std::nullopt, "busy");
  error.status = 503;
  respond_error(responder, error);
}

}  // namespace

void add_read_routes(Router& router, std::shared_ptr<const AdminParts> parts) {
  router.add("GET", "/metrics", [parts](HttpRequest, const std::string&, Responder responder) {
    const ModelFolderFindings found =
        parts->model_folder != nullptr ? parts->model_folder->last() : ModelFolderFindings{};
    responder->respond(200, {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
                       parts->metrics->exposition(parts->engine->status(), found));
  });
  router.add("GET", "/health", [parts](HttpRequest, const std::string&, Responder responder) {
    if (parts->model_folder == nullptr) {
      return respond_json(*responder, 200, health_report(parts->engine->status()));
    }
    const ModelFolderFindings found = parts->model_folder->last();
    respond_json(*responder, 200, health_report(parts->engine->status(), &found));
  });
  router.add("GET", "/admin/v1/requests",
             [parts](HttpRequest, const std::string&, Responder responder) {
               respond_requests(*parts, *responder);
             });
  add_document(router, "/admin/v1/status", [parts] { return status_document(*parts); });
  add_document(router, "/admin/v1/health", [parts] { return health_document(*parts); });
  add_document(router, "/admin/v1/ranks", [parts] { return ranks_document(*parts); });
  add_document(router, "/admin/v1/experts", [parts] { return experts_document(*parts); });
  add_document(router, "/admin/v1/model", [parts] { return model_document(*parts); });
  add_document(router, "/admin/v1/config", [parts] { return config_document(*parts); });
  add_document(router, "/admin/v1/version", [parts] { return version_document(*parts); });
  add_document(router, "/admin/v1/history", [parts] { return history_document(*parts); });
  add_document(router, "/admin/v1/logs", [parts] { return logs_document(*parts); });
  add_document(router, "/admin/v1/admission",
               [parts] { return admission_document(*parts); });
}

}  // namespace conclave::coordinator
