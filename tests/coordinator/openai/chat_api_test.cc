// Whole (not streamed) chat completions against a live server.

#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class ChatApiTest : public ApiTest {
 protected:
  // Sends the request, lets `engine` act for the accepted sequences, and reads the answer.
  ClientResponse ask(const std::string& json, size_t sequences,
                     const std::function<void()>& engine) {
    HttpClient client(port());
    client.send(post_text(kChatPath, json));
    EXPECT_TRUE(engine_.wait_submitted(sequences));
    engine();
    return client.read_response();
  }
};

TEST_F(ChatApiTest, AnswerIsByteExact) {
  start();
  const ClientResponse response = ask(chat_json(), 1, [this] {
    engine_.token(0, tokenizer_->piece(0));
    engine_.token(0, tokenizer_->piece(1));
    engine_.end(0, FinishReason::kStop, 4, tokenizer_->eos());
  });
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.at("content-type"), "application/json");
  EXPECT_EQ(
      normalised(response.body),
      R"({"id":"chatcmpl-X","object":"chat.completion","created":0,"model":"m",)"
      R"("system_fingerprint":"fp_reference_f32_01234567","choices":[{"index":0,"message":{"role":"assistant",)"
      R"("content":"Hello wor","refusal":null},"logprobs":null,"finish_reason":"stop"}],)"
      R"("usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10,)"
      R"("prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}}})");
}

TEST_F(ChatApiTest, RequestReachesTheEngineWithDefaultsOfTheModel) {
  ApiServerOptions options;
  options.model_defaults.temperature = 0.7f;
  options.model_defaults.top_p = 0.9f;
  start(options);
  ask(chat_json(
          R"(,"top_p":0.5,"seed":7,"logit_bias":{"65":-100},"stop_token_ids":[66],"min_tokens":2)"),
      1, [this] { engine_.end(0, FinishReason::kLength); });
  const GenerationRequest request = engine_.request(0);
  EXPECT_EQ(request.sampling.temperature, 0.7f);
  EXPECT_EQ(request.sampling.top_p, 0.5f);
  EXPECT_EQ(request.sampling.seed, 7u);
  EXPECT_EQ(request.sampling.top_logprobs, -1);
  ASSERT_EQ(request.sampling.bias.size(), 1u);
  EXPECT_EQ(request.stop_token_ids, std::vector<int32_t>{66});
  EXPECT_EQ(request.min_tokens, 2);
  EXPECT_EQ(tokenizer_->decode(request.prompt, false), "user:hi|");
  EXPECT_EQ(request.max_tokens, 128 - 8) << "to the end of the context";
}

TEST_F(ChatApiTest, TheModelsLimitAppliesWhereTheRequestNamesNone) {
  ApiServerOptions options;
  options.model_defaults.max_new_tokens = 20;
  start(options);
  ask(chat_json(), 1, [this] { engine_.end(0, FinishReason::kLength); });
  EXPECT_EQ(engine_.request(0).max_tokens, 20);
  ask(chat_json(R"(,"max_tokens":30)"), 2, [this] { engine_.end(1, FinishReason::kLength); });
  EXPECT_EQ(engine_.request(1).max_tokens, 30);
}

TEST_F(ChatApiTest, DefaultsOfTheModelCanBeSwitchedOff) {
  ApiServerOptions options;
  options.model_defaults.temperature = 0.25f;
  options.defaults_source = GenerationDefaultsSource::kNone;
  start(options);
  ask(chat_json(), 1, [this] { engine_.end(0, FinishReason::kLength); });
  EXPECT_EQ(engine_.request(0).sampling.temperature, 1.0f);
}

TEST_F(ChatApiTest, ChoicesShareTheSeedAndDifferByIndex) {
  start();
  const ClientResponse response = ask(chat_json(R"(,"n":3)"), 3, [this] {
    for (size_t i : {2u, 0u, 1u}) {
      engine_.token(i, 'a' + static_cast<int32_t>(i));
      engine_.end(i, i == 1 ? FinishReason::kLength : FinishReason::kStop, 0);
    }
  });
  const auto body = nlohmann::json::parse(response.body);
  ASSERT_EQ(body["choices"].size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(body["choices"][i]["index"], i);
    EXPECT_EQ(body["choices"][i]["message"]["content"], std::string(1, static_cast<char>('a' + i)));
    EXPECT_EQ(engine_.request(i).sampling.choice, i);
    EXPECT_EQ(engine_.request(i).sampling.seed, engine_.request(0).sampling.seed);
  }
  EXPECT_EQ(body["choices"][1]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["prompt_tokens"], 8);
  EXPECT_EQ(body["usage"]["completion_tokens"], 3);
}

TEST_F(ChatApiTest, StopStringAcrossTokensEndsTheAnswerAndCancelsTheRest) {
  start();
  const ClientResponse response = ask(chat_json(R"(,"stop":["STOP"])"), 1, [this] {
    for (size_t piece : {0u, 3u, 4u}) engine_.token(0, tokenizer_->piece(piece));
    EXPECT_TRUE(engine_.wait_cancelled(1));
  });
  const auto body = nlohmann::json::parse(response.body);
  EXPECT_EQ(body["choices"][0]["message"]["content"], "Hello");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["usage"]["completion_tokens"], 3);
}

TEST_F(ChatApiTest, LogprobsAreListedPerToken) {
  start();
  const ClientResponse response = ask(chat_json(R"(,"logprobs":true,"top_logprobs":1)"), 1, [this] {
    engine_.token(0, 'a', -0.5f, {{'b', -0.25f}});
    engine_.token(0, 'c', -1.0f, {{'c', -1.0f}});
    engine_.end(0, FinishReason::kLength);
  });
  EXPECT_EQ(engine_.request(0).sampling.top_logprobs, 1);
  const auto content = nlohmann::json::parse(response.body)["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[0]["token"], "a");
  EXPECT_EQ(content[0]["top_logprobs"][0]["token"], "b");
  EXPECT_EQ(content[1]["logprob"], -1.0);
}

TEST_F(ChatApiTest, SpecialTokensAreShownOnlyOnRequest) {
  start();
  for (const bool skip : {true, false}) {
    const size_t index = engine_.submitted();
    const ClientResponse response =
        ask(chat_json(std::string(",\"skip_special_tokens\":") + (skip ? "true" : "false")),
            index + 1, [&] {
              engine_.token(index, 'a');
              engine_.token(index, tokenizer_->eos());
              engine_.end(index, FinishReason::kLength);
            });
    const auto body = nlohmann::json::parse(response.body);
    EXPECT_EQ(body["choices"][0]["message"]["content"], skip ? "a" : "a<eos>");
  }
}

}  // namespace
}  // namespace conclave::coordinator
