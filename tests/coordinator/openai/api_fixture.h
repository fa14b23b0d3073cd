#ifndef CONCLAVE_TESTS_COORDINATOR_OPENAI_API_FIXTURE_H_
#define CONCLAVE_TESTS_COORDINATOR_OPENAI_API_FIXTURE_H_

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "coordinator/openai/api_server.h"
#include "tests/coordinator/openai/fake_engine.h"
#include "tests/coordinator/openai/fake_tokenizer.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {

// Joins "role:content|" for all messages; refuses a message that says "refuse".
class FakeTemplate : public ChatTemplate {
 public:
  absl::StatusOr<std::string> render(const nlohmann::ordered_json& variables) const override;
  bool uses_variable(std::string_view name) const override { return variables_used.contains(name); }
  bool mentions(std::string_view) const override { return false; }
  bool takes_content_parts() const override { return false; }
  const std::vector<std::string>& warnings() const override { return no_warnings_; }

  std::set<std::string, std::less<>> variables_used;

 private:
  std::vector<std::string> no_warnings_;
};

// A live API server on a loopback port over a fake engine. Tokens are bytes and then `pieces`.
class ApiTest : public testing::Test {
 protected:
  ApiTest();
  ~ApiTest() override;
  void start(ApiServerOptions options = {});
  uint16_t port() const { return server_->port(); }
  ClientResponse post(const std::string& path, const std::string& json) {
    return http_post(port(), path, json);
  }

  FakeEngine engine_;
  std::shared_ptr<FakeTokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::unique_ptr<ApiServer> server_;
};

// Replaces what differs from run to run: ids by X, created by 0.
std::string normalised(std::string body);
nlohmann::json error_of(const ClientResponse& response);

inline constexpr const char* kChatPath = "/v1/chat/completions";
inline constexpr const char* kCompletionPath = "/v1/completions";
// {"model":"m","messages":[{"role":"user","content":"hi"}] EXTRA}
std::string chat_json(const std::string& extra = "");
// {"model":"m","prompt":"hi" EXTRA}
std::string completion_json(const std::string& extra = "");

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_OPENAI_API_FIXTURE_H_
