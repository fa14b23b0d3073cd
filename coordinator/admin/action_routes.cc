#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "coordinator/admin/admin_routes.h"
#include "coordinator/admin/documents.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {
namespace {

constexpr std::chrono::milliseconds kPatience{5000};
constexpr size_t kLongestReason = 200;

using Responder = std::shared_ptr<HttpResponder>;

void respond(HttpResponder& responder, int status, const AdminJson& json) {
  respond_json(responder, status, json.dump(-1, ' ', false, AdminJson::error_handler_t::replace));
}

void refuse(HttpResponder& responder, int status, std::string message, std::string code) {
  ApiError error = bad_request(std::move(message), std::nullopt, std::move(code));
  error.status = status;
  respond_error(responder, error);
}

// The body's member as text: "" for an empty body or a missing member; nothing if it is no text.
std::optional<std::string> text_member(const std::string& body, const char* name) {
  if (body.empty()) return "";
  const AdminJson json = AdminJson::parse(body, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return "";
  if (!found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

// cordon and drain are the same to the engine: nobody new. Who drains waits for `drained`.
void close_admission(const AdminParts& parts, const HttpRequest& request, const char* verb,
                     HttpResponder& responder) {
  const auto reason = text_member(request.body, "reason");
  if (!reason || reason->empty() || reason->size() > kLongestReason) {
    return refuse(responder, 400,
                  absl::StrCat("A ", verb,
                               " needs a reason that clients and colleagues will read: "
                               "{\"reason\": \"…\"} with 1 to 200 characters."),
                  "reason_missing");
  }
  parts.engine->cordon(*reason);
  log_info("admission closed", {{"verb", verb}, {"reason", *reason}});
  respond(responder, 200, admission_document(parts));
}

void open_admission(const AdminParts& parts, HttpResponder& responder) {
  parts.engine->uncordon();
  if (parts.engine->status().draining) {
    return refuse(responder, 409,
                  "The coordinator got its stop signal and is ending; start it again to take "
                  "requests.",
                  "stopping");
  }
  log_info("admission opened");
  respond(responder, 200, admission_document(parts));
}

// name: the number of one sequence, or the client's request id, which all choices of a request
// share.
void cancel(const AdminParts& parts, const std::string& name, HttpResponder& responder) {
  const auto requests = parts.engine->requests(kPatience);
  if (!requests.ok())
    return refuse(responder, 503, std::string(requests.status().message()), "busy");
  uint64_t number = 0;
  const bool numeric = absl::SimpleAtoi(name, &number);
  AdminJson out = document("cancelled");
  out["cancelled"] = AdminJson::array();
  for (const RequestStatus& request : *requests) {
    if (request.request_id != name && !(numeric && request.id == number)) continue;
    parts.engine->cancel(request.id);
    out["cancelled"].push_back(request.id);
    log_info("request cancelled by an operator",
             {{"request_id", request.request_id}, {"sequence", absl::StrCat(request.id)}});
  }
  if (out["cancelled"].empty()) {
    return refuse(responder, 404, absl::StrCat("No open request is called ", name, "."),
                  "request_not_found");
  }
  respond(responder, 200, out);
}

void change_log_level(const AdminParts& parts, const HttpRequest& request,
                      HttpResponder& responder) {
  const auto name = text_member(request.body, "level");
  const auto level = name ? parse_log_level(*name) : std::nullopt;
  if (!level) {
    return refuse(responder, 400,
                  "Send {\"level\": \"debug\" | \"info\" | \"warning\" | \"error\"}.", "bad_level");
  }
  AdminJson out = document("log_level");
  out["before"] = log_level_name(log_level());
  set_log_level(*level);
  parts.engine->set_rank_log_level(*level);
  out["level"] = log_level_name(*level);
  log_warning("log level changed", {{"level", log_level_name(*level)}});
  respond(responder, 200, out);
}

}  // namespace

void add_action_routes(Router& router, std::shared_ptr<const AdminParts> parts) {
  for (const char* verb : {"cordon", "drain"}) {
    router.add("POST", absl::StrCat("/admin/v1/", verb),
               [parts, verb](HttpRequest request, const std::string&, Responder responder) {
                 close_admission(*parts, request, verb, *responder);
               });
  }
  router.add("POST", "/admin/v1/undrain",
             [parts](HttpRequest, const std::string&, Responder responder) {
               open_admission(*parts, *responder);
             });
  router.add("DELETE", "/admin/v1/requests/*",
             [parts](HttpRequest, const std::string& name, Responder responder) {
               cancel(*parts, name, *responder);
             });
  router.add("POST", "/admin/v1/log-level",
             [parts](HttpRequest request, const std::string&, Responder responder) {
               change_log_level(*parts, request, *responder);
             });
  if (!parts->generate) return;
  for (const char* path : {"/v1/chat/completions", "/v1/completions"}) {
    router.add("POST", path, [parts](HttpRequest request, const std::string&, Responder responder) {
      request.key = nullptr;  // an administrator's, which has no share among those of the API
      parts->generate(std::move(request), std::move(responder));
    });
  }
}

}  // namespace conclave::coordinator
