#include <utility>

#include "coordinator/openai/endpoints.h"
#include "coordinator/openai/generation_plan.h"
#include "coordinator/openai/generation_session.h"
#include "coordinator/openai/status_error.h"

namespace conclave::coordinator {
namespace {

// parse: body -> Request; plan: Request -> SessionPlan.
template <typename Request, typename Parse, typename Plan>
void generate(ServingContext& context, const HttpRequest& http,
              std::shared_ptr<HttpResponder> responder, const std::atomic<bool>& gone, Parse parse,
              Plan make_plan) {
  if (const auto error = check_body_headers(http)) return respond_error(*responder, *error);
  Request request;
  if (const auto error = parse(http.body, &request)) return respond_error(*responder, *error);
  context.unknown_fields.note(request.fields.unknown);
  if (const auto error = check_model(context, request.fields.model))
    return respond_error(*responder, *error);
  const EngineStatus engine = context.engine->status();
  // Before it has loaded the model the engine does not know how long a context may be.
  if (engine.max_model_len <= 0) return respond_error(*responder, not_ready_error(engine));
  SessionPlan plan;
  if (const auto error = make_plan(context, std::move(request), engine, gone, &plan)) {
    return respond_error(*responder, *error);
  }
  for (GenerationRequest& choice : plan.requests) choice.request_id = http.request_id;
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
