#include <utility>

#include "coordinator/admin/health_report.h"
#include "coordinator/http/json_text.h"
#include "coordinator/openai/endpoints.h"

namespace conclave::coordinator {
namespace {

std::string model_object(const ServingContext& context, const EngineStatus& engine) {
  std::string out = "{\"id\":";
  append_json_string(&out, context.model_name);
  out.append(",\"object\":\"model\",\"created\":");
  append_json_int(&out, context.created);
  out.append(",\"owned_by\":\"conclave\",\"root\":");
  append_json_string(&out, context.model_name);
  out.append(",\"parent\":null,\"max_model_len\":");
  append_json_int(&out, engine.max_model_len);
  out.push_back('}');
  return out;
}

void append_member(std::string* out, const char* name, const std::string& value) {
  out->append(out->size() > 1 ? ",\"" : "\"").append(name).append("\":");
  append_json_string(out, value);
}

std::string version_object(const ServingContext& context, const EngineStatus& engine) {
  std::string out = "{";
  append_member(&out, "version", context.version);
  append_member(&out, "model", context.model_name);
  append_member(&out, "kernel_set", engine.kernel_set);
  append_member(&out, "compute", engine.compute);
  append_member(&out, "transport", engine.transport);
  append_member(&out, "model_fingerprint", engine.model_fingerprint);
  append_member(&out, "system_fingerprint", system_fingerprint(engine));
  out.push_back('}');
  return out;
}

}  // namespace

void add_info_endpoints(Router& router, std::shared_ptr<ServingContext> context) {
  router.add("GET", "/v1/models",
             [context](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
               respond_json(*responder, 200,
                            "{\"object\":\"list\",\"data\":[" +
                                model_object(*context, context->engine->status()) + "]}");
             });
  router.add(
      "GET", "/v1/models/*",
      [context](HttpRequest, const std::string& name, std::shared_ptr<HttpResponder> responder) {
        if (const auto error = check_model(*context, name))
          return respond_error(*responder, *error);
        respond_json(*responder, 200, model_object(*context, context->engine->status()));
      });
  router.add("GET", "/health",
             [context](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
               respond_json(*responder, 200, health_report(context->engine->status()));
             });
  router.add("GET", "/version",
             [context](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
               respond_json(*responder, 200, version_object(*context, context->engine->status()));
             });
}

}  // namespace conclave::coordinator
