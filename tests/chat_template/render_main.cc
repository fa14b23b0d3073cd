// Renders templates for make_expected.py: one JSON object {"template", "variables"} a line on stdin,
// {"text"} or {"error"} a line on stdout.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/chat_template/chat_template.h"

namespace {

nlohmann::ordered_json failure(const absl::Status& status) {
  return {{"error", std::string(status.message())}};
}

nlohmann::ordered_json respond(const std::string& line) {
  const auto request = nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!request.is_object() || !request.contains("template") || !request.contains("variables")) {
    return {{"error", "bad request"}};
  }
  const auto parsed = conclave::coordinator::ChatTemplate::parse(
      request["template"].get<std::string>(), "case");
  if (!parsed.ok()) return failure(parsed.status());
  const auto text = (*parsed)->render(request["variables"]);
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
