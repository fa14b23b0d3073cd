#include <thread>

#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class ReadyApiTest : public ApiTest {
 protected:
  // The engine answers each submission at once with one token.
  void answer_at_once() {
    engine_.set_on_submit([this](size_t index) {
      engine_.token(index, 'a');
      engine_.end(index, FinishReason::kLength);
    });
  }
};

TEST_F(ReadyApiTest, CanaryTokenProvesTheEngineAndCountsForAWhile) {
  ApiServerOptions options;
  options.ready.fresh_for = std::chrono::hours(1);
  start(options);
  answer_at_once();
  EXPECT_EQ(http_get(port(), "/ready").status, 200);
  EXPECT_EQ(nlohmann::json::parse(http_get(port(), "/ready").body)["ready"], true);
  EXPECT_EQ(engine_.submitted(), 1u);
  EXPECT_EQ(engine_.request(0).max_tokens, 1);
  EXPECT_LT(engine_.request(0).priority, 0);
}

TEST_F(ReadyApiTest, ProofThatIsStaleIsRefreshed) {
  ApiServerOptions options;
  options.ready.fresh_for = std::chrono::milliseconds(0);
  start(options);
  answer_at_once();
  EXPECT_EQ(http_get(port(), "/ready").status, 200);
  EXPECT_EQ(http_get(port(), "/ready").status, 200);
  EXPECT_EQ(engine_.submitted(), 2u);
}

TEST_F(ReadyApiTest, TrafficIsProofEnough) {
  ApiServerOptions options;
  options.ready.fresh_for = std::chrono::hours(1);
  start(options);
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true)")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, 'a');
  ASSERT_TRUE(client.read_until("\"content\":\"a\""));
  EXPECT_EQ(http_get(port(), "/ready").status, 200);
  EXPECT_EQ(engine_.submitted(), 1u);
}

TEST_F(ReadyApiTest, FallsAtOnceWhenTheEngineIsNotReadyOrDrains) {
  ApiServerOptions options;
  options.ready.fresh_for = std::chrono::hours(1);
  start(options);
  answer_at_once();
  ASSERT_EQ(http_get(port(), "/ready").status, 200);
  engine_.set_status([](EngineStatus& status) {
    status.state = GroupState::kFailed;
    status.since = 1'796'094'487;
    status.last_failure = "rank 0 died";
  });
  const ClientResponse failed = http_get(port(), "/ready");
  EXPECT_EQ(failed.status, 503);
  EXPECT_NE(failed.body.find("rank 0 died"), std::string::npos);
  const auto body = nlohmann::json::parse(failed.body);
  EXPECT_EQ(body["ready"], false);
  EXPECT_EQ(body["reason"], body["error"]["message"]);
  EXPECT_EQ(body["since"], "2026-12-01T03:08:07Z");
  engine_.set_status([](EngineStatus& status) { status.state = GroupState::kReady; });
  EXPECT_EQ(http_get(port(), "/ready").status, 200);
  engine_.drain();
  EXPECT_EQ(error_of(http_get(port(), "/ready"))["code"], "draining");
}

TEST_F(ReadyApiTest, CallersShareOneCanary) {
  start();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    clients.back()->send("GET /ready HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, 'a');
  engine_.end(0, FinishReason::kLength);
  for (const auto& client : clients) EXPECT_EQ(client->read_response().status, 200);
  EXPECT_EQ(engine_.submitted(), 1u);
}

TEST_F(ReadyApiTest, HangingOrFailingCanaryIs503) {
  ApiServerOptions options;
  options.ready.timeout = std::chrono::milliseconds(30);
  start(options);
  const ClientResponse hanging = http_get(port(), "/ready");
  EXPECT_EQ(hanging.status, 503);
  EXPECT_EQ(error_of(hanging)["code"], "timeout");
  const auto body = nlohmann::json::parse(hanging.body);
  EXPECT_EQ(body["ready"], false);
  EXPECT_EQ(body["reason"], body["error"]["message"]);
  EXPECT_FALSE(body["since"].get<std::string>().empty());
  engine_.fail(0, absl::UnavailableError("rank 1 died"));
  engine_.set_submit_status(absl::ResourceExhaustedError("the queue is full"));
  EXPECT_EQ(http_get(port(), "/ready").status, 429);
}

}  // namespace
}  // namespace conclave::coordinator
