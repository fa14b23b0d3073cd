// Event streams, byte by byte, against a live server.

#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class StreamApiTest : public ApiTest {};

std::string event(const std::string& choice_fields, const std::string& after = "}") {
  return R"(data: {"id":"chatcmpl-X","object":"chat.completion.chunk","created":0,"model":"m",)"
         R"("system_fingerprint":"fp_reference_f32_01234567","choices":[)" +
         choice_fields + "]" + after + "\n\n";
}
std::string role(int index) {
  return "{\"index\":" + std::to_string(index) +
         R"(,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null})";
}
std::string text(int index, const std::string& content) {
  return "{\"index\":" + std::to_string(index) + R"(,"delta":{"content":")" + content +
         R"("},"logprobs":null,"finish_reason":null})";
}
std::string finish(int index, const std::string& reason) {
  return "{\"index\":" + std::to_string(index) +
         R"(,"delta":{},"logprobs":null,"finish_reason":")" + reason + "\"}";
}

TEST_F(StreamApiTest, TranscriptWithUsageIsByteExact) {
  start();
  HttpClient client(port());
  client.send(
      post_text(kChatPath, chat_json(R"(,"stream":true,"stream_options":{"include_usage":true})")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, tokenizer_->piece(0));
  engine_.token(0, 0xC3);  // half of é: nothing to show yet
  engine_.token(0, 0xA9);
  engine_.end(0, FinishReason::kStop, 2, tokenizer_->eos());
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream; charset=utf-8");
  const std::string tail = ",\"usage\":null}";
  EXPECT_EQ(normalised(response.body),
            event(role(0), tail) + event(text(0, "Hello"), tail) + event(text(0, "é"), tail) +
                event(finish(0, "stop"), tail) +
                event("", R"(,"usage":{"prompt_tokens":8,"completion_tokens":3,"total_tokens":11,)"
                          R"("prompt_tokens_details":{"cached_tokens":2},)"
                          R"("completion_tokens_details":{"reasoning_tokens":0}}})") +
                "data: [DONE]\n\n");
}

TEST_F(StreamApiTest, ChoicesInterleaveEachWithRoleAndFinish) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true,"n":2)")));
  ASSERT_TRUE(engine_.wait_submitted(2));
  engine_.token(1, 'b');
  engine_.token(0, 'a');
  engine_.end(1, FinishReason::kLength);
  engine_.token(0, 'A');
  engine_.end(0, FinishReason::kStop);
  EXPECT_EQ(normalised(client.read_response().body),
            event(role(0)) + event(role(1)) + event(text(1, "b")) + event(text(0, "a")) +
                event(finish(1, "length")) + event(text(0, "A")) + event(finish(0, "stop")) +
                "data: [DONE]\n\n");
}

TEST_F(StreamApiTest, HeldBackTextComesOutWhenItIsNoStop) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true,"stop":["STOP"])")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, tokenizer_->piece(3));  // "STO"
  engine_.end(0, FinishReason::kLength);
  EXPECT_EQ(
      normalised(client.read_response().body),
      event(role(0)) + event(text(0, "STO")) + event(finish(0, "length")) + "data: [DONE]\n\n");
}

TEST_F(StreamApiTest, StopStringNeverShowsAndTheRestIsCancelled) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true,"stop":["STOP"])")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, 'x');
  engine_.token(0, tokenizer_->piece(3));
  engine_.token(0, tokenizer_->piece(4));
  EXPECT_EQ(normalised(client.read_response().body),
            event(role(0)) + event(text(0, "x")) + event(finish(0, "stop")) + "data: [DONE]\n\n");
  EXPECT_TRUE(engine_.cancelled(0));
}

TEST_F(StreamApiTest, CompletionStreamWithEcho) {
  start();
  HttpClient client(port());
  client.send(post_text(kCompletionPath, completion_json(R"(,"stream":true,"echo":true)")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, '!');
  engine_.end(0, FinishReason::kLength);
  const auto chunk = [](const std::string& text, const std::string& reason) {
    return R"(data: {"id":"cmpl-X","object":"text_completion","created":0,"model":"m",)"
           R"("system_fingerprint":"fp_reference_f32_01234567","choices":[{"index":0,"text":")" +
           text + R"(","logprobs":null,"finish_reason":)" + reason + "}]}\n\n";
  };
  EXPECT_EQ(
      normalised(client.read_response().body),
      chunk("hi", "null") + chunk("!", "null") + chunk("", "\"length\"") + "data: [DONE]\n\n");
}

TEST_F(StreamApiTest, LogprobsTravelWithTheirText) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true,"logprobs":true)")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.token(0, 'a', -0.5f);
  engine_.end(0, FinishReason::kLength);
  const std::string body = client.read_response().body;
  EXPECT_NE(
      body.find(
          R"("delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.5,"bytes":[97],)"
          R"("top_logprobs":[]}],"refusal":null},"finish_reason":null)"),
      std::string::npos)
      << body;
}

TEST_F(StreamApiTest, FailureAfterTheFirstTokenIsAnErrorEventAndDone) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true,"n":2)")));
  ASSERT_TRUE(engine_.wait_submitted(2));
  engine_.token(0, 'a');
  ASSERT_TRUE(client.read_until("\"content\":\"a\""));
  engine_.fail(0, absl::UnavailableError("rank 1 on host b died in layer 3"));
  const ClientResponse response = client.read_response();
  EXPECT_TRUE(response.complete);
  EXPECT_TRUE(response.body.ends_with(
      R"(data: {"error":{"message":"rank 1 on host b died in layer 3","type":"server_error","param":null,)"
      R"("code":"overloaded"}})"
      "\n\ndata: [DONE]\n\n"))
      << response.body;
  EXPECT_TRUE(engine_.wait_cancelled(1)) << "the other choice";
}

TEST_F(StreamApiTest, FailureBeforeTheFirstTokenIsAPlain503) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true)")));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.fail(0, absl::UnavailableError("the group restarts"));
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.at("retry-after"), "1");
}

TEST_F(StreamApiTest, SilentStreamsBeginInTimeAndPing) {
  ApiServerOptions options;
  options.timing = {std::chrono::milliseconds(1), std::chrono::milliseconds(10)};
  options.http.header_timeout = std::chrono::milliseconds(200);  // sets the server's tick
  start(options);
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json(R"(,"stream":true)")));
  EXPECT_TRUE(client.read_until("\"role\":\"assistant\""));
  EXPECT_TRUE(client.read_until(": ping\n\n"));
}

TEST_F(StreamApiTest, ClientThatLeavesCancelsItsRequests) {
  start();
  HttpClient silent(port());
  silent.send(post_text(kChatPath, chat_json(R"(,"n":2)")));
  ASSERT_TRUE(engine_.wait_submitted(2));
  silent.close();
  EXPECT_TRUE(engine_.wait_cancelled(2)) << "although nothing was written";
  HttpClient streaming(port());
  streaming.send(post_text(kChatPath, chat_json(R"(,"stream":true)")));
  ASSERT_TRUE(engine_.wait_submitted(3));
  engine_.token(2, 'a');
  ASSERT_TRUE(streaming.read_until("\"content\":\"a\""));
  streaming.reset();
  EXPECT_TRUE(engine_.wait_cancelled(3));
}

}  // namespace
}  // namespace conclave::coordinator
