#ifndef CONCLAVE_COORDINATOR_OPENAI_API_SERVER_H_
#define CONCLAVE_COORDINATOR_OPENAI_API_SERVER_H_

// The public listener: the OpenAI-compatible API over one engine.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/chat_template.h"
#include "coordinator/engine/engine.h"
#include "coordinator/http/api_keys.h"
#include "coordinator/http/http_server.h"
#include "coordinator/openai/generation_session.h"
#include "coordinator/openai/ready_probe.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "model/model_spec.h"

namespace conclave::coordinator {

class Metrics;
class Succession;
struct HttpEndpoint;

// Where the meaning of left-out sampling fields comes from.
enum class GenerationDefaultsSource { kModel, kNone };
// "model" or "none"; INVALID_ARGUMENT otherwise.
absl::StatusOr<GenerationDefaultsSource> parse_generation_defaults_source(const std::string& text);

struct ApiServerOptions {
  HttpServerOptions http{.port = 8000};
  std::string model_name;  // as clients name it
  int32_t vocab_size = 0;  // of the model; 0: the tokenizer's
  GenerationDefaultsSource defaults_source = GenerationDefaultsSource::kModel;
  model::GenerationDefaults model_defaults;
  ApiKeys api_keys;  // guard all but /health and /ready
  std::string version = "0.1.0";
  SessionTiming timing;
  ReadyProbeOptions
      ready;  // canary_prompt: replaced by the tokenizer's beginning-of-text token, if any
};

struct ApiServerParts {
  Engine* engine = nullptr;  // outlives the server
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: chat completions are refused
  Metrics* metrics = nullptr;                         // null: none; outlives the server
};

// Thread-safe.
class ApiServer {
 public:
  static absl::StatusOr<std::unique_ptr<ApiServer>> start(ApiServerOptions options,
                                                          ApiServerParts parts);
  ~ApiServer();
  uint16_t port() const;
  // Answers what the public listener does, without asking for its keys: for the admin listener,
  // which has its own. Outlives the server; the engine must outlive it.
  HttpHandler unguarded_handler() const;
  // Stops accepting, lets open answers finish for `grace`, cuts the rest. To lose none, drain the
  // engine first.
  void stop(std::chrono::milliseconds grace);
  // From its return on, every new request is passed to that server, which serves the same model; requests that came
  // before stay with the engine. Once; later calls do nothing.
  void hand_over_to(const HttpEndpoint& successor);
  // Requests that this server answers itself and has not finished.
  int64_t own_open() const;

 private:
  ApiServer(std::unique_ptr<HttpServer> server, std::shared_ptr<Succession> succession,
            HttpHandler unguarded);
  std::shared_ptr<Succession> succession_;
  std::unique_ptr<HttpServer> server_;
  const HttpHandler unguarded_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_API_SERVER_H_
