// What a client is told when a request cannot be served.

#include "coordinator/openai/requests.h"
#include "coordinator/openai/text_workers.h"
#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class ApiErrorsTest : public ApiTest {};

TEST_F(ApiErrorsTest, ErrorsHaveTheShapeAndTheRequestId) {
  start();
  const ClientResponse response =
      http_post(port(), kChatPath, chat_json(R"(,"temperature":3)"), "x-request-id: mine\r\n");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.headers.at("x-request-id"), "mine");
  const auto error = error_of(response);
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["param"], "temperature");
  EXPECT_EQ(error["code"], "invalid_value");
  EXPECT_TRUE(error["message"].is_string());
}

TEST_F(ApiErrorsTest, UnknownModelIs404) {
  start();
  const ClientResponse response = post(kCompletionPath, R"({"model":"other","prompt":"x"})");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(error_of(response)["code"], "model_not_found");
  EXPECT_EQ(error_of(response)["param"], "model");
}

TEST_F(ApiErrorsTest, TooLongForTheContextSaysBothNumbers) {
  start();
  for (const std::string& json :
       {R"({"model":"m","prompt":")" + std::string(128, 'a') + "\"}",
        completion_json(R"(,"max_tokens":127)"), chat_json(R"(,"max_tokens":121)")}) {
    const bool chat = json.find("messages") != std::string::npos;
    const ClientResponse response = post(chat ? kChatPath : kCompletionPath, json);
    EXPECT_EQ(response.status, 400) << json;
    const auto error = error_of(response);
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["param"], chat ? "messages" : "prompt");
    EXPECT_NE(error["message"].get<std::string>().find("128"), std::string::npos);
    EXPECT_NE(error["message"].get<std::string>().find("129"), std::string::npos);
  }
  EXPECT_EQ(engine_.submitted(), 0u);
}

// A tokenizer may know more tokens than the model: such a token must not reach the workers.
TEST_F(ApiErrorsTest, TextThatBecomesATokenBeyondTheModelIsRefused) {
  ApiServerOptions options;
  options.vocab_size = 'y';
  start(options);
  for (const auto& [path, json] :
       {std::pair(kCompletionPath, std::string(R"({"model":"m","prompt":"any"})")),
        std::pair(kChatPath,
                  std::string(R"({"model":"m","messages":[{"role":"user","content":"y"}]})"))}) {
    const ClientResponse response = post(path, json);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(error_of(response)["param"], std::string(path) == kChatPath ? "messages" : "prompt");
    EXPECT_NE(error_of(response)["message"].get<std::string>().find("token 12"), std::string::npos)
        << response.body;
  }
  EXPECT_EQ(engine_.submitted(), 0u);
}

TEST_F(ApiErrorsTest, TooManyStopTokenIdsAreRefused) {
  start();
  std::string ids = "65";
  for (size_t i = 0; i < kMaxStopTokenIds; ++i) ids += ",65";
  const ClientResponse response = post(kChatPath, chat_json(R"(,"stop_token_ids":[)" + ids + "]"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(error_of(response)["param"], "stop_token_ids");
}

TEST_F(ApiErrorsTest, LargeBodiesAreAnsweredLikeSmallOnes) {
  start();
  const std::string text(2 * kInlineBodyBytes, 'a');
  const ClientResponse response =
      post(kCompletionPath, R"({"model":"m","prompt":")" + text + "\"}");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(error_of(response)["code"], "context_length_exceeded");
  const ClientResponse tokens = post("/tokenize", R"({"model":"m","prompt":")" + text + "\"}");
  EXPECT_EQ(tokens.status, 200);
  EXPECT_EQ(nlohmann::json::parse(tokens.body)["count"], text.size());
}

TEST_F(ApiErrorsTest, TokensOutsideTheVocabularyAreNamed) {
  start();
  EXPECT_EQ(error_of(post(kCompletionPath, R"({"model":"m","prompt":[65,99999]})"))["param"],
            "prompt[1]");
  EXPECT_EQ(error_of(post(kCompletionPath, R"({"model":"m","prompt":[[65],[99999]]})"))["param"],
            "prompt[1][0]");
  EXPECT_EQ(error_of(post(kChatPath, chat_json(R"(,"logit_bias":{"99999":1})")))["param"],
            "logit_bias.99999");
  EXPECT_EQ(error_of(post(kChatPath, chat_json(R"(,"stop_token_ids":[99999])")))["param"],
            "stop_token_ids[0]");
  EXPECT_EQ(error_of(post(kCompletionPath, R"({"model":"m","prompt":""})"))["param"], "prompt");
}

TEST_F(ApiErrorsTest, TemplateThatRefusesIs400WithItsMessage) {
  start();
  const auto error =
      error_of(post(kChatPath, R"({"model":"m","messages":[{"role":"user","content":"refuse"}]})"));
  EXPECT_EQ(error["param"], "messages");
  EXPECT_NE(error["message"].get<std::string>().find("roles must alternate"), std::string::npos);
}

TEST_F(ApiErrorsTest, ATemplatesOwnFaultIsNotTheMessages) {
  start();
  const ClientResponse response = post(kChatPath, R"({"model":"m","messages":[{"role":"user","content":"break"}]})");
  EXPECT_EQ(response.status, 400);
  const auto error = error_of(response);
  EXPECT_TRUE(error["param"].is_null());
  EXPECT_EQ(error["code"], "chat_template_error");
  EXPECT_NE(error["message"].get<std::string>().find("chat template file, line 7: No filter named 'nope'."), std::string::npos);
}

TEST_F(ApiErrorsTest, ANumberInToolArgumentsThatWouldChangeIsTheMessagesFault) {
  start();
  const auto error = error_of(post(kChatPath, R"({"model":"m","messages":[{"role":"user","content":"u"},{"role":"assistant",)"
                                              R"("tool_calls":[{"function":{"name":"f","arguments":"{\"a\":99999999999999999999}"}}]}]})"));
  EXPECT_EQ(error["param"], "messages");
  EXPECT_NE(error["message"].get<std::string>().find("99999999999999999999"), std::string::npos);
}

TEST_F(ApiErrorsTest, ModelWithoutATemplateRefusesChat) {
  template_ = nullptr;
  start();
  EXPECT_EQ(post(kChatPath, chat_json()).status, 400);
}

TEST_F(ApiErrorsTest, FullQueueIs429AndUnavailableIs503BothWithRetryAfter) {
  start();
  engine_.set_submit_status(absl::ResourceExhaustedError("the queue is full"));
  const ClientResponse full = post(kChatPath, chat_json());
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.headers.at("retry-after"), "1");
  EXPECT_EQ(error_of(full)["code"], "rate_limit_exceeded");
  engine_.set_submit_status(absl::UnavailableError("draining"));
  engine_.drain();
  const ClientResponse draining = post(kChatPath, chat_json(R"(,"stream":true)"));
  EXPECT_EQ(draining.status, 503);
  EXPECT_EQ(draining.headers.at("retry-after"), "1");
  EXPECT_EQ(error_of(draining)["code"], "draining");
}

TEST_F(ApiErrorsTest, LoadingEngineIs503) {
  start();
  engine_.set_status([](EngineStatus& status) {
    status.state = GroupState::kLoading;
    status.max_model_len = 0;
  });
  const ClientResponse response = post(kChatPath, chat_json());
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(error_of(response)["code"], "loading");
}

TEST_F(ApiErrorsTest, ChoicesAcceptedBeforeARefusalAreCancelled) {
  start();
  engine_.set_on_submit(
      [this](size_t) { engine_.set_submit_status(absl::ResourceExhaustedError("full")); });
  EXPECT_EQ(post(kChatPath, chat_json(R"(,"n":2)")).status, 429);
  EXPECT_TRUE(engine_.wait_cancelled(1));
}

TEST_F(ApiErrorsTest, InternalFailureSaysNotToRetry) {
  start();
  HttpClient client(port());
  client.send(post_text(kChatPath, chat_json()));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.fail(0, absl::InternalError("a bug"));
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.headers.at("x-should-retry"), "false");
}

TEST_F(ApiErrorsTest, BadBodiesAre400And415And404And405) {
  start();
  for (const std::string& bad : {std::string("{"), std::string("\xff\xfe"), std::string(),
                                 "{\"a\":" + std::string(100000, '['), std::string("{\"a\":NaN}"),
                                 std::string("{\"model\":\"m\",\"prompt\":\"\xc3\"}")}) {
    const ClientResponse response = post(kCompletionPath, bad);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(error_of(response)["code"], "invalid_json");
  }
  HttpClient form(port());
  form.send(
      "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(form.read_response().status, 415);
  EXPECT_EQ(http_get(port(), "/nowhere").status, 404);
  const ClientResponse wrong = http_get(port(), kChatPath);
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
}

TEST_F(ApiErrorsTest, BodiesOfOtherEncodingsAre415NamingThem) {
  start();
  const auto ask = [this](const char* path, const std::string& headers) {
    HttpClient client(port());
    client.send(std::string("POST ") + path + " HTTP/1.1\r\nHost: x\r\n" + headers +
                "\r\nContent-Length: 2\r\n\r\n{}");
    return client.read_response();
  };
  for (const char* path : {kChatPath, kCompletionPath, "/tokenize", "/v1/detokenize"}) {
    const ClientResponse coded = ask(path, "Content-Encoding: GZip");
    EXPECT_EQ(coded.status, 415) << path;
    EXPECT_EQ(error_of(coded)["code"], "unsupported_content_encoding");
    EXPECT_NE(coded.body.find("GZip"), std::string::npos);
    EXPECT_EQ(coded.headers.at("accept-encoding"), "identity");
  }
  for (const char* bad :
       {"Content-Encoding: identity, br", "Content-Encoding: identity\r\nContent-Encoding: zstd",
        "Content-Type: application/json; charset=utf-16", "Content-Type: text/plain",
        "Content-Type: application/json; charset=\"latin1\"", "Content-Type: +json"}) {
    EXPECT_EQ(ask(kChatPath, bad).status, 415) << bad;
  }
  for (const char* fine :
       {"Content-Encoding: identity", "Content-Encoding:", "Content-Type: Application/JSON ;q=1",
        "Content-Type: application/json; charset=\"UTF-8\"", "Content-Type: application/x+JSON"}) {
    EXPECT_EQ(ask(kChatPath, fine).status, 400) << fine;  // understood: {} lacks its messages
  }
}

TEST_F(ApiErrorsTest, PrioritiesBelowWhatTheKeyAllowsAreRefusedAndRequestsCarryTheirKey) {
  ApiServerOptions options;
  options.api_keys =
      *ApiKeys::from_text("plain\nfull name=team weight=4 best_priority=-3\n", "keys");
  start(options);
  const auto ask = [](const std::string& key, const std::string& priority) {
    return post_text(kCompletionPath, R"({"model":"m","prompt":"a","priority":)" + priority + "}",
                     "Authorization: Bearer " + key + "\r\n");
  };
  for (const auto& [key, priority] : std::vector<std::pair<std::string, std::string>>{
           {"plain", "-1"}, {"full", "-4"}, {"plain", "-2147483647"}}) {
    HttpClient client(port());
    client.send(ask(key, priority));
    const ClientResponse response = client.read_response();
    EXPECT_EQ(response.status, 400) << key << priority;
    EXPECT_EQ(error_of(response)["param"], "priority");
    const std::string message = error_of(response)["message"];
    EXPECT_NE(message.find(key == "full" ? "-3 or more" : "0 or more"), std::string::npos)
        << message;
    EXPECT_EQ(message.find("plain"), std::string::npos) << message << " says the key";
  }
  HttpClient first(port()), second(port());
  first.send(ask("plain", "0"));
  ASSERT_TRUE(engine_.wait_submitted(1));
  second.send(ask("full", "-3"));
  ASSERT_TRUE(engine_.wait_submitted(2));
  EXPECT_EQ(engine_.request(0).client, "key-1");
  EXPECT_EQ(engine_.request(0).client_weight, 1);
  EXPECT_EQ(engine_.request(1).client, "team");
  EXPECT_EQ(engine_.request(1).client_weight, 4);
  EXPECT_EQ(engine_.request(1).priority, -3);
  for (const size_t index : {0u, 1u}) engine_.end(index, FinishReason::kLength);
}

TEST_F(ApiErrorsTest, WithoutAModelTheServedOneAnswers) {
  start();
  HttpClient client(port());
  client.send(post_text(kCompletionPath, R"({"prompt":"hi"})"));
  ASSERT_TRUE(engine_.wait_submitted(1));
  engine_.end(0, FinishReason::kLength);
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(nlohmann::json::parse(response.body)["model"], "m");
}

TEST_F(ApiErrorsTest, AnswersTooLargeToHoldAreRefusedBeforeTheyBegin) {
  engine_.set_status([](EngineStatus& status) { status.max_model_len = 131072; });
  start();
  const auto refused = [this](const char* path, const std::string& json, const char* param) {
    const ClientResponse response = post(path, json);
    EXPECT_EQ(response.status, 400) << json;
    EXPECT_EQ(error_of(response)["param"], param) << response.body;
  };
  refused(kChatPath, chat_json(R"(,"n":128,"logprobs":true,"top_logprobs":20)"), "max_tokens");
  refused(kCompletionPath, completion_json(R"(,"n":100,"logprobs":20,"max_tokens":9000)"), "n");
  EXPECT_EQ(engine_.submitted(), 0u);
}

TEST_F(ApiErrorsTest, AnswersThatCanBeHeldOrAreStreamedAreServed) {
  engine_.set_status([](EngineStatus& status) { status.max_model_len = 131072; });
  start();
  size_t submitted = 0;
  for (const char* fine : {R"(,"logprobs":true,"top_logprobs":20)",
                           R"(,"n":128,"logprobs":true,"top_logprobs":20,"max_tokens":4000)",
                           R"(,"n":128,"logprobs":true,"top_logprobs":20,"stream":true)"}) {
    HttpClient client(port());
    client.send(post_text(kChatPath, chat_json(fine)));
    submitted += std::string(fine).find("128") == std::string::npos ? 1 : 128;
    ASSERT_TRUE(engine_.wait_submitted(submitted)) << fine;
  }
}

TEST_F(ApiErrorsTest, ReasoningEffortNeedsATemplateThatReadsIt) {
  auto reads = std::make_shared<FakeTemplate>();
  template_ = reads;
  start();
  const std::string body = chat_json(R"(,"reasoning_effort":"low")");
  EXPECT_EQ(error_of(post(kChatPath, body))["param"], "reasoning_effort");
  EXPECT_EQ(post("/tokenize", body).status, 400);
  EXPECT_EQ(post("/tokenize", chat_json(R"(,"reasoning_effort":null)")).status, 200);
  reads->variables_used = {"enable_thinking"};
  EXPECT_EQ(post("/tokenize", body).status, 200);
  reads->variables_used = {"reasoning_effort"};
  EXPECT_EQ(post("/tokenize", body).status, 200);
}

TEST_F(ApiErrorsTest, TokenizingAndBackAreBounded) {
  constexpr size_t kLongPiece = size_t{1} << 20;
  tokenizer_ = std::make_shared<FakeTokenizer>(std::vector{std::string(kLongPiece, 'x')});
  ApiServerOptions options;
  options.http.max_body_bytes = size_t{32} << 20;
  start(options);
  const ClientResponse tokens =
      post("/tokenize", R"({"prompt":")" + std::string(kMaxTokenizedTokens + 1, 'a') + "\"}");
  EXPECT_EQ(tokens.status, 400);
  EXPECT_EQ(error_of(tokens)["param"], "prompt");
  std::string ids = "256";
  for (size_t bytes = 0; bytes <= kMaxDetokenizedBytes; bytes += kLongPiece) ids += ",256";
  const ClientResponse text = post("/detokenize", R"({"tokens":[)" + ids + "]}");
  EXPECT_EQ(text.status, 400);
  EXPECT_EQ(error_of(text)["param"], "tokens");
}

TEST_F(ApiErrorsTest, KeyGuardsAllButHealthAndReady) {
  ApiServerOptions options;
  options.api_keys = *ApiKeys::from_text("first\nsecond\n", "keys");
  start(options);
  for (const char* path : {"/v1/models", "/version", "/nowhere", kChatPath, "/tokenize"}) {
    EXPECT_EQ(http_get(port(), path).status, 401) << path;
    EXPECT_EQ(http_get(port(), path, "Authorization: Bearer wrong\r\n").status, 401) << path;
  }
  EXPECT_EQ(error_of(http_get(port(), "/v1/models"))["code"], "invalid_api_key");
  EXPECT_EQ(http_get(port(), "/v1/models", "Authorization: Bearer second\r\n").status, 200);
  EXPECT_EQ(http_get(port(), "/health").status, 200);
}

}  // namespace
}  // namespace conclave::coordinator
