#include "tests/coordinator/openai/api_fixture.h"

#include <regex>

namespace conclave::coordinator {

absl::StatusOr<std::string> FakeTemplate::render(const nlohmann::ordered_json& variables) const {
  std::string out;
  for (const auto& message : variables["messages"]) {
    const std::string content = message["content"].get<std::string>();
    if (content == "break") return absl::FailedPreconditionError("chat template file, line 7: No filter named 'nope'.");
    if (content == "refuse") return absl::InvalidArgumentError("roles must alternate");
    out += message["role"].get<std::string>() + ":" + content + "|";
  }
  return out;
}

ApiTest::ApiTest()
    : tokenizer_(std::make_shared<FakeTokenizer>(
          std::vector<std::string>{"Hello", " wor", "ld", "STO", "P!"})),
      template_(std::make_shared<FakeTemplate>()) {}

ApiTest::~ApiTest() {
  if (server_ != nullptr) server_->stop(std::chrono::milliseconds(0));
}

void ApiTest::start(ApiServerOptions options) {
  options.http.port = 0;
  if (options.model_name.empty()) options.model_name = "m";
  auto server = ApiServer::start(std::move(options), {&engine_, tokenizer_, template_, nullptr});
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = std::move(*server);
}

std::string normalised(std::string body) {
  static const std::regex id("\"id\":\"(chatcmpl|cmpl)-[0-9a-f]{24}\"");
  static const std::regex created("\"created\":[0-9]+");
  body = std::regex_replace(body, id, "\"id\":\"$1-X\"");
  return std::regex_replace(body, created, "\"created\":0");
}

nlohmann::json error_of(const ClientResponse& response) {
  const auto body = nlohmann::json::parse(response.body, nullptr, false);
  return body.is_object() && body.contains("error") ? body["error"] : nlohmann::json();
}

std::string chat_json(const std::string& extra) {
  return R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + extra + "}";
}

std::string completion_json(const std::string& extra) {
  return R"({"model":"m","prompt":"hi")" + extra + "}";
}

}  // namespace conclave::coordinator
