#include <CLI/CLI.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "coordinator/http/api_key_file.h"
#include "coordinator/http/client/http_client.h"

namespace conclave::cli {
namespace {

using nlohmann::json;

struct AskOptions {
  std::string endpoint = "http://127.0.0.1:8000";
  std::string api_key_file;
  std::string model;
  std::string question;
  double temperature = -1;
  int32_t max_tokens = 0;
  int32_t timeout_s = 600;
};

absl::Status api_error(const coordinator::HttpAnswer& answer) {
  if (answer.status == 0) return answer.error;
  const json body = json::parse(answer.body, nullptr, false);
  std::string message = answer.body;
  if (body.is_object() && body.contains("error") && body["error"].is_object() && body["error"].contains("message")) {
    message = body["error"]["message"].is_string() ? body["error"]["message"].get<std::string>() : message;
  }
  const std::string text = absl::StrCat("the cluster answered ", answer.status, ": ", message);
  return answer.status >= 500 || answer.status == 429 ? absl::UnavailableError(text) : absl::InvalidArgumentError(text);
}

absl::StatusOr<std::string> first_model(coordinator::HttpClient& client) {
  const coordinator::HttpAnswer answer = client.call("GET", "/v1/models");
  if (answer.status != 200) return api_error(answer);
  const json body = json::parse(answer.body, nullptr, false);
  if (!body.is_object() || !body.contains("data") || !body["data"].is_array() || body["data"].empty() ||
      !body["data"][0].contains("id") || !body["data"][0]["id"].is_string()) {
    return absl::UnavailableError("the endpoint lists no model; is it a Conclave or OpenAI-compatible API?");
  }
  return body["data"][0]["id"].get<std::string>();
}

// Prints what an event adds to the answer; remembers an error event.
void print_event(std::string_view data, std::string* error) {
  const json event = json::parse(data, nullptr, false);
  if (!event.is_object()) return;
  if (event.contains("error")) {
    *error = event["error"].value("message", "unknown error");
    return;
  }
  if (!event.contains("choices") || event["choices"].empty()) return;
  const json& delta = event["choices"][0].value("delta", json::object());
  const auto content = delta.find("content");
  if (content == delta.end() || !content->is_string()) return;
  const std::string text = content->get<std::string>();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

absl::Status ask(AskOptions o) {
  coordinator::HttpClient::Options options;
  ASSIGN_OR_RETURN(options.endpoint, coordinator::parse_http_endpoint(o.endpoint));
  if (!o.api_key_file.empty()) {
    ASSIGN_OR_RETURN(options.api_key, coordinator::first_api_key(o.api_key_file));
  }
  options.timeout = std::chrono::seconds(o.timeout_s);
  const auto client = coordinator::HttpClient::create(options);
  if (o.model.empty()) {
    ASSIGN_OR_RETURN(o.model, first_model(*client));
  }
  json request{{"model", o.model}, {"stream", true}, {"messages", {{{"role", "user"}, {"content", o.question}}}}};
  if (o.temperature >= 0) request["temperature"] = o.temperature;
  if (o.max_tokens > 0) request["max_completion_tokens"] = o.max_tokens;

  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  coordinator::HttpAnswer answer;
  std::string error;
  client->send("POST", "/v1/chat/completions", request.dump(-1, ' ', false, json::error_handler_t::replace),
               [&](std::string_view data) { print_event(data, &error); },
               [&](coordinator::HttpAnswer result) {
                 std::lock_guard lock(mutex);
                 answer = std::move(result);
                 done = true;
                 changed.notify_all();
               });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
  if (answer.status != 200) return api_error(answer);
  std::fputc('\n', stdout);
  if (!error.empty()) return absl::UnavailableError(error);
  return answer.error;
}

}  // namespace

void add_ask_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<AskOptions>();
  CLI::App* command = app.add_subcommand("ask", "Ask a running cluster one question and print the answer as it comes");
  command->footer(std::string(kExitCodeHelp));
  command->add_option("question", o->question, "what to ask")->required();
  command->add_option("--endpoint", o->endpoint, "http://HOST:PORT of the API")->envname("CONCLAVE_ENDPOINT");
  command->add_option("--api-key-file", o->api_key_file, "file with the API key")->envname("CONCLAVE_API_KEY_FILE");
  command->add_option("--model", o->model, "served model; default: the first that is listed");
  command->add_option("--temperature", o->temperature, "default: the model's")->check(CLI::Range(0.0, 2.0));
  command->add_option("--max-tokens", o->max_tokens, "default: up to the end of the context")->check(CLI::Range(1, 1 << 24));
  command->add_option("--timeout", o->timeout_s, "seconds for the whole answer")->check(CLI::Range(1, 86400))->capture_default_str();
  command->callback([o, exit_code] { *exit_code = report(ask(*o)); });
}

}  // namespace conclave::cli
