// Renders templates for make_expected.py and the peer test: one JSON object a line on stdin,
// {"text"} or {"error"} a line on stdout. {"template", "variables"} gives the template those
// variables, {"template", "chat"} what chat_variables() makes of {"messages",
// "add_generation_prompt", "special_tokens", "reasoning_effort", "arguments"}.
// {"names": true} answers what the engine knows and what it refuses by name.
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "coordinator/chat_template/chat_template.h"
#include "coordinator/chat_template/chat_variables.h"
#include "coordinator/chat_template/known_names.h"

namespace {

nlohmann::ordered_json failure(const absl::Status& status) {
  return {{"error", std::string(status.message())}};
}

using conclave::coordinator::ChatVariables;

absl::StatusOr<nlohmann::ordered_json> variables_of(const nlohmann::ordered_json& request) {
  if (!request.contains("chat"))
    return request.value("variables", nlohmann::ordered_json::object());
  const nlohmann::ordered_json& given = request["chat"];
  ChatVariables chat;
  chat.messages = given["messages"];
  chat.add_generation_prompt = given.value("add_generation_prompt", false);
  chat.special_tokens = given.value("special_tokens", std::map<std::string, std::string>());
  if (given.contains("reasoning_effort"))
    chat.reasoning_effort = given["reasoning_effort"].get<std::string>();
  chat.arguments = given.value("arguments", nlohmann::ordered_json::object());
  return conclave::coordinator::chat_variables(std::move(chat));
}

nlohmann::ordered_json respond(const std::string& line) {
  const auto request = nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (request.is_object() && request.contains("names"))
    return conclave::coordinator::jinja::known_names();
  if (!request.is_object() || !request.contains("template")) return {{"error", "bad request"}};
  const auto variables = variables_of(request);
  if (!variables.ok()) return failure(variables.status());
  const auto parsed = conclave::coordinator::ChatTemplate::parse(
      request["template"].get<std::string>(), "case");
  if (!parsed.ok()) return failure(parsed.status());
  const auto text = (*parsed)->render(*variables);
  if (!text.ok()) return failure(text.status());
  return {{"text", *text}};
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::cout << respond(line).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
              << std::endl;
  }
  return 0;
}
