// Many clients at once.

#include <chrono>
#include <thread>

#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class ApiLoadTest : public ApiTest {};

TEST_F(ApiLoadTest, TwoHundredStreamsEachGetTheirOwnText) {
  start();
  constexpr size_t kStreams = 200;
  constexpr int kTokens = 20;
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (size_t i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    const std::string prompt = "[" + std::to_string(i + 1) + "]";
    clients[i]->send(
        post_text(kCompletionPath, R"({"model":"m","stream":true,"prompt":)" + prompt + "}"));
  }
  ASSERT_TRUE(engine_.wait_submitted(kStreams));
  for (int token = 0; token < kTokens; ++token) {
    for (size_t i = 0; i < kStreams; ++i) engine_.token(i, 'a' + engine_.request(i).prompt[0] % 26);
  }
  for (size_t i = 0; i < kStreams; ++i) engine_.end(i, FinishReason::kLength);
  for (size_t i = 0; i < kStreams; ++i) {
    const ClientResponse response = clients[i]->read_response();
    ASSERT_TRUE(response.complete);
    std::string text;
    for (size_t at = response.body.find("\"text\":\""); at != std::string::npos;
         at = response.body.find("\"text\":\"", at + 8)) {
      const size_t end = response.body.find('"', at + 8);
      text += response.body.substr(at + 8, end - at - 8);
    }
    ASSERT_EQ(text, std::string(kTokens, static_cast<char>('a' + static_cast<int>(i + 1) % 26)));
  }
}

TEST_F(ApiLoadTest, ReaderThatStallsIsDroppedAndDoesNotHoldUpOthers) {
  ApiServerOptions options;
  options.http.socket_send_buffer_bytes = 1 << 14;
  options.http.max_stream_queue_bytes = 1 << 16;
  start(options);
  HttpClient stalled(port());
  stalled.send(post_text(kChatPath, chat_json(R"(,"stream":true,"logprobs":true)")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  HttpClient lively(port());
  lively.send(post_text(kChatPath, chat_json(R"(,"stream":true)")));
  ASSERT_TRUE(engine_.wait_submitted(2));
  // In bursts: a server slowed down by a sanitizer must see the queue of the stream grow, not a queue of tokens to write.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (!engine_.cancelled(0) && std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 100; ++i) engine_.token(0, 'a');
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(engine_.cancelled(0));
  engine_.token(1, 'b');
  engine_.end(1, FinishReason::kStop);
  EXPECT_TRUE(lively.read_response().complete);
}

// An answer of megabytes goes out as the client takes it, and the client may be slow.
TEST_F(ApiLoadTest, LargeAnswersAreSentInPieces) {
  ApiServerOptions options;
  options.http.socket_send_buffer_bytes = 1 << 14;
  options.http.max_stream_queue_bytes = 1 << 16;
  start(options);
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"n":2,"logprobs":true,"top_logprobs":20)")));
  ASSERT_TRUE(engine_.wait_submitted(2));
  std::vector<protocol::TokenLogprob> top;
  for (int32_t i = 0; i < 20; ++i) top.push_back({'a' + i, -0.1f * static_cast<float>(i)});
  constexpr size_t kTokens = 1500;
  for (size_t choice : {0, 1}) {
    for (size_t i = 0; i < kTokens; ++i) engine_.token(choice, 'a', -0.5f, top);
    engine_.end(choice, FinishReason::kLength);
  }
  // Meanwhile others are served, although nobody takes the large one.
  HttpClient lively(port());
  lively.send(post_text(kChatPath, chat_json()));
  ASSERT_TRUE(engine_.wait_submitted(3));
  engine_.end(2, FinishReason::kStop);
  EXPECT_TRUE(lively.read_response().complete);
  const ClientResponse response = client.read_response();
  ASSERT_TRUE(response.complete);
  EXPECT_GT(response.body.size(), size_t{2} << 20);
  EXPECT_EQ(response.headers.count("content-length"), 0u);
  const auto json = nlohmann::json::parse(response.body);
  for (size_t choice : {0, 1}) {
    EXPECT_EQ(json["choices"][choice]["logprobs"]["content"].size(), kTokens);
    EXPECT_EQ(json["choices"][choice]["message"]["content"], std::string(kTokens, 'a'));
  }
  // The connection goes on.
  client.send(post_text(kChatPath, chat_json(R"(,"temperature":3)")));
  EXPECT_EQ(client.read_response().status, 400);
}

TEST_F(ApiLoadTest, StopLetsAnOpenStreamFinish) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true)")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, 'a');
  ASSERT_TRUE(client.read_until("\"content\":\"a\""));
  std::thread stopper([this] { server_->stop(std::chrono::seconds(20)); });
  engine_.token(0, 'b');
  engine_.end(0, FinishReason::kStop);
  const ClientResponse response = client.read_response();
  EXPECT_TRUE(response.body.ends_with("data: [DONE]\n\n"));
  client.close();
  stopper.join();
  EXPECT_FALSE(engine_.cancelled(0));
}

TEST_F(ApiLoadTest, EngineThatOutlivesTheServerFindsNobody) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json()));
  ASSERT_TRUE(engine_.wait_submitted(1));
  server_->stop(std::chrono::milliseconds(0));
  server_.reset();
  engine_.token(0, 'a');
  engine_.end(0, FinishReason::kStop);
}

}  // namespace
}  // namespace conclave::coordinator
