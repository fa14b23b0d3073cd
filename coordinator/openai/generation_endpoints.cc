#include <utility>

#include "coordinator/http/api_key.h"
#include "coordinator/openai/endpoints.h"
#include "coordinator/openai/generation_plan.h"
#include "coordinator/openai/generation_session.h"
#include "coordinator/openai/status_error.h"

namespace conclave::coordinator {
namespace {

// The priority that its key lets a request ask for. Without keys anything goes.
std::optional<ApiError> check_priority(const ApiKey* key, int32_t priority) {
  if (key == nullptr || priority >= key->best_priority) return std::nullopt;
  return bad_request("'priority' is " + std::to_string(priority) + ", but the API key \"" +
                         key->name + "\" allows " + std::to_string(key->best_priority) +
                         " or more; lower numbers run first.",
                     "priority", "invalid_value");
}

// What the engine must know of where the requests come from.
void sign(const HttpRequest& http, std::vector<GenerationRequest>* requests) {
  for (GenerationRequest& request : *requests) {
    request.request_id = http.request_id;
    if (http.key == nullptr) continue;
    request.client = http.key->name;
    request.client_weight = http.key->weight;
  }
}

// parse: body -> Request; plan: Request -> SessionPlan.
template <typename Request, typename Parse, typename Plan>
void generate(ServingContext& context, const HttpRequest& http,
              std::shared_ptr<HttpResponder> responder, const std::atomic<bool>& gone, Parse parse,
              Plan make_plan) {
  if (const auto error = check_body_headers(http)) return respond_error(*responder, *error);
  Request request;
  if (const auto error = parse(http.body, &request)) return respond_error(*responder, *error);
  context.unknown_fields.note(request.fields.unknown);
  if (const auto error = check_priority(http.key.get(), request.fields.priority))
    return respond_error(*responder, *error);
  if (const auto error = check_model(context, request.fields.model))
    return respond_error(*responder, *error);
  const EngineStatus engine = context.engine->status();
  // Before it has loaded the model the engine does not know how long a context may be.
  if (engine.max_model_len <= 0) return respond_error(*responder, not_ready_error(engine));
  SessionPlan plan;
  if (const auto error = make_plan(context, std::move(request), engine, gone, &plan)) {
    return respond_error(*responder, *error);
  }
  sign(http, &plan.requests);
  HttpResponder& strand = *responder;
  auto session =
      std::make_shared<GenerationSession>(std::move(plan), *context.engine, context.tokenizer,
                                          context.last_token_ns, std::move(responder));
  strand.post([session = std::move(session)] { session->start(); });
}

}  // namespace

void add_generation_endpoints(Router& router, std::shared_ptr<ServingContext> context,
                              const std::shared_ptr<TextWorkers>& workers) {
  router.add("POST", "/v1/chat/completions",
             off_the_loop(workers, [context](const HttpRequest& request,
                                             std::shared_ptr<HttpResponder> responder,
                                             const std::atomic<bool>& gone) {
               generate<ChatRequest>(*context, request, std::move(responder), gone,
                                     parse_chat_request, plan_chat);
             }));
  router.add("POST", "/v1/completions",
             off_the_loop(workers, [context](const HttpRequest& request,
                                             std::shared_ptr<HttpResponder> responder,
                                             const std::atomic<bool>& gone) {
               generate<CompletionRequest>(*context, request, std::move(responder), gone,
                                           parse_completion_request, plan_completion);
             }));
}

}  // namespace conclave::coordinator
