#include "coordinator/openai/api_server.h"

#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/admin/metrics.h"
#include "coordinator/http/authority.h"
#include "coordinator/http/router.h"
#include "coordinator/openai/endpoints.h"
#include "coordinator/openai/succession.h"
#include "coordinator/openai/serving_context.h"

namespace conclave::coordinator {
namespace {

std::shared_ptr<ServingContext> make_context(const ApiServerOptions& options,
                                             const ApiServerParts& parts) {
  auto context = std::make_shared<ServingContext>();
  context->engine = parts.engine;
  context->tokenizer = parts.tokenizer;
  context->chat_template = parts.chat_template;
  context->model_name = options.model_name;
  context->vocab_size = options.vocab_size > 0 ? options.vocab_size : parts.tokenizer->vocab_size();
  if (options.defaults_source == GenerationDefaultsSource::kModel) {
    context->defaults = defaults_of_model(options.model_defaults);
  }
  context->timing = options.timing;
  context->created = unix_seconds();
  context->version = options.version;
  return context;
}

ReadyProbeOptions probe_options(const ApiServerOptions& options, const Tokenizer& tokenizer) {
  ReadyProbeOptions ready = options.ready;
  if (const auto bos = tokenizer.token_id(tokenizer.bos_token())) ready.canary_prompt = {*bos};
  return ready;
}

std::shared_ptr<Router> make_router(const ApiServerOptions& options,
                                    std::shared_ptr<ServingContext> context) {
  auto router = std::make_shared<Router>();
  const auto workers = std::make_shared<TextWorkers>();
  add_generation_endpoints(*router, context, workers);
  add_info_endpoints(*router, context);
  add_tokenizer_endpoints(*router, context, workers);
  for (const char* method : {"GET", "POST", "DELETE"})
    router->add(method, "/admin/*",
                [](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
                  ApiError error =
                      bad_request("Admin verbs are served on the admin listener alone, never here.",
                                  std::nullopt, "admin_refused");
                  error.status = 403;
                  respond_error(*responder, error);
                });
  auto probe = std::make_shared<ReadyProbe>(
      *context->engine, probe_options(options, *context->tokenizer), context->last_token_ns);
  router->add("GET", "/ready",
              [probe](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
                probe->check(std::move(responder));
              });
  return router;
}

// What needs no key carries no body either: nobody fills memory without one.
HttpGuard key_guard(const ApiKeys& keys) {
  return [keys](HttpRequest& request) -> std::optional<ApiError> {
    const bool open = request.path == "/health" || request.path == "/ready" ||
                      CorsPolicy::is_preflight(request);
    if (open && !request.has_body()) return std::nullopt;
    return keys.check(request.header("authorization"), &request.key);
  };
}

void observe(HttpServerOptions* http, Metrics* metrics, std::shared_ptr<const Router> router) {
  http->on_exchange = [metrics, router = std::move(router)](const HttpExchange& exchange) {
    if (metrics != nullptr) {
      metrics->http_answered(router->label_of(exchange.path), exchange.method, exchange.status,
                             exchange.seconds);
    }
    if (!log_enabled(LogLevel::kDebug)) return;
    log_debug("http", {{"method", exchange.method},
                       {"path", exchange.path},
                       {"status", std::to_string(exchange.status)},
                       {"seconds", std::to_string(exchange.seconds)}});
  };
}

}  // namespace

absl::StatusOr<GenerationDefaultsSource> parse_generation_defaults_source(const std::string& text) {
  if (text == "model") return GenerationDefaultsSource::kModel;
  if (text == "none") return GenerationDefaultsSource::kNone;
  return absl::InvalidArgumentError("generation defaults are '" + text +
                                    "'; expected model or none");
}

ApiServer::ApiServer(std::unique_ptr<HttpServer> server, std::shared_ptr<Succession> succession,
                     HttpHandler unguarded)
    : succession_(std::move(succession)),
      server_(std::move(server)),
      unguarded_(std::move(unguarded)) {}

ApiServer::~ApiServer() = default;

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::start(ApiServerOptions options,
                                                            ApiServerParts parts) {
  if (parts.engine == nullptr || parts.tokenizer == nullptr || options.model_name.empty()) {
    return absl::InvalidArgumentError(
        "the API server needs an engine, a tokenizer and a model name");
  }
  const auto context = make_context(options, parts);
  const auto router = make_router(options, context);
  observe(&options.http, parts.metrics, router);
  options.http.guard = key_guard(options.api_keys);
  log_info("sampling defaults of requests that leave fields out",
           {{"source", options.defaults_source == GenerationDefaultsSource::kModel
                           ? "generation_config.json"
                           : "none"},
            {"defaults", describe(context->defaults)}});
  const bool exposed = !is_loopback_address(options.http.address);
  if (exposed && options.api_keys.empty()) {
    log_warning("the API listens beyond this machine without an API key",
                {{"address", options.http.address}});
  }
  auto succession = std::make_shared<Succession>();
  ASSIGN_OR_RETURN(
      auto server,
      HttpServer::start(options.http, [router, succession](HttpRequest request,
                                                            std::shared_ptr<HttpResponder> responder) {
        succession->handle(std::move(request), std::move(responder), *router);
      }));
  return std::unique_ptr<ApiServer>(new ApiServer(
      std::move(server), std::move(succession),
      [router](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
        router->handle(std::move(request), std::move(responder));
      }));
}

void ApiServer::hand_over_to(const HttpEndpoint& successor) { succession_->begin(successor); }

int64_t ApiServer::own_open() const { return succession_->own_open(); }

HttpHandler ApiServer::unguarded_handler() const { return unguarded_; }

uint16_t ApiServer::port() const { return server_->port(); }

void ApiServer::stop(std::chrono::milliseconds grace) { server_->stop(grace); }

}  // namespace conclave::coordinator
