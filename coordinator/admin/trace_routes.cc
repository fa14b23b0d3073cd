#include <string>
#include <utility>

#include "coordinator/admin/admin_routes.h"
#include "coordinator/admin/chrome_trace.h"
#include "coordinator/admin/documents.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kMostSteps = 200;  // a traced step is some 100 KB of JSON a rank

using Responder = std::shared_ptr<HttpResponder>;

AdminJson trace_document(const TraceStatus& trace) {
  AdminJson out = document("trace");
  out["running"] = trace.running;
  out["steps_wanted"] = trace.wanted;
  out["steps"] = trace.steps.size();
  return out;
}

void respond(HttpResponder& responder, const AdminJson& json) {
  respond_json(responder, 200, json.dump());
}

// {"steps": 1 to 200}; 8 if left out.
void start(const AdminParts& parts, const HttpRequest& request, HttpResponder& responder) {
  const AdminJson body =
      request.body.empty() ? AdminJson::object() : AdminJson::parse(request.body, nullptr, false);
  const AdminJson steps = body.is_object() ? body.value("steps", AdminJson(8)) : AdminJson();
  if (!steps.is_number_integer() || steps.get<int64_t>() < 1 || steps.get<int64_t>() > kMostSteps) {
    return respond_error(
        responder, bad_request("Send {\"steps\": N} with N from 1 to 200.", "steps", "bad_steps"));
  }
  parts.engine->start_trace(steps.get<int32_t>());
  respond(responder, trace_document(parts.engine->trace()));
}

}  // namespace

void add_trace_routes(Router& router, std::shared_ptr<const AdminParts> parts) {
  router.add("GET", "/admin/v1/trace", [parts](HttpRequest, const std::string&, Responder r) {
    respond(*r, trace_document(parts->engine->trace()));
  });
  router.add("POST", "/admin/v1/trace/start",
             [parts](HttpRequest request, const std::string&, Responder r) {
               start(*parts, request, *r);
             });
  // The answer is the trace itself, for chrome://tracing or ui.perfetto.dev.
  router.add("POST", "/admin/v1/trace/stop", [parts](HttpRequest, const std::string&, Responder r) {
    parts->engine->stop_trace();
    respond_json(*r, 200, chrome_trace_json(parts->engine->trace(), parts->engine->status()));
  });
}

}  // namespace conclave::coordinator
