// Whole (not streamed) completions against a live server.

#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class CompletionApiTest : public ApiTest {
 protected:
  nlohmann::json ask(const std::string& json, size_t sequences,
                     const std::function<void()>& engine) {
    HttpClient client(port());
    client.send(post_text(kCompletionPath, json));
    EXPECT_TRUE(engine_.wait_submitted(sequences));
    engine();
    const ClientResponse response = client.read_response();
    EXPECT_EQ(response.status, 200) << response.body;
    return nlohmann::json::parse(response.body, nullptr, false);
  }
};

TEST_F(CompletionApiTest, DefaultIsSixteenTokens) {
  start();
  const auto body = ask(completion_json(), 1, [this] {
    engine_.token(0, 'x');
    engine_.end(0, FinishReason::kLength, 1);
  });
  EXPECT_EQ(engine_.request(0).max_tokens, 16);
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["choices"][0]["text"], "x");
  EXPECT_TRUE(body["choices"][0]["logprobs"].is_null());
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
}

TEST_F(CompletionApiTest, DefaultLimitShrinksToTheContext) {
  start();
  ask(R"({"model":"m","prompt":")" + std::string(120, 'a') + "\"}", 1,
      [this] { engine_.end(0, FinishReason::kLength); });
  EXPECT_EQ(engine_.request(0).max_tokens, 8);
}

TEST_F(CompletionApiTest, SeveralPromptsHaveARunningIndex) {
  start();
  const auto body = ask(R"({"model":"m","prompt":[[65,66],[67]],"n":2})", 4, [this] {
    for (size_t i = 0; i < 4; ++i) {
      engine_.token(i, '0' + static_cast<int32_t>(i));
      engine_.end(i, FinishReason::kStop, 1);
    }
  });
  ASSERT_EQ(body["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(body["choices"][i]["text"], std::to_string(i));
  EXPECT_EQ(engine_.request(1).prompt, (std::vector<int32_t>{65, 66}));
  EXPECT_EQ(engine_.request(2).prompt, (std::vector<int32_t>{67}));
  EXPECT_EQ(engine_.request(3).sampling.choice, 1u);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3) << "each prompt once, whatever n";
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

TEST_F(CompletionApiTest, EqualPromptsAreSampledApartUnlessTheSeedIsGiven) {
  start();
  const auto two = [this](size_t first) {
    return [this, first] {
      engine_.end(first, FinishReason::kLength);
      engine_.end(first + 1, FinishReason::kLength);
    };
  };
  ask(R"({"model":"m","prompt":["same","same"]})", 2, two(0));
  EXPECT_NE(engine_.request(0).sampling.seed, engine_.request(1).sampling.seed);
  ask(R"({"model":"m","prompt":["same","same"],"seed":5})", 4, two(2));
  EXPECT_EQ(engine_.request(2).sampling.seed, 5u);
  EXPECT_EQ(engine_.request(3).sampling.seed, 5u);
}

TEST_F(CompletionApiTest, EchoWithoutLogprobsIsTheText) {
  start();
  const auto body = ask(completion_json(R"(,"echo":true)"), 1, [this] {
    engine_.token(0, '!');
    engine_.end(0, FinishReason::kLength);
  });
  EXPECT_EQ(body["choices"][0]["text"], "hi!");
  EXPECT_EQ(engine_.request(0).prompt_top_logprobs, -1);
}

TEST_F(CompletionApiTest, EchoWithLogprobsAndNoTokenScoresThePrompt) {
  start();
  const auto body = ask(completion_json(R"(,"echo":true,"logprobs":1,"max_tokens":0)"), 1, [this] {
    PromptPart part;
    part.rows = 2;
    part.logprobs = {{0, {'i', -1.5f}, {{'o', -0.5f}}}};
    engine_.prompt(0, part);
    engine_.end(0, FinishReason::kLength);
  });
  EXPECT_EQ(engine_.request(0).prompt_top_logprobs, 1);
  EXPECT_EQ(engine_.request(0).max_tokens, 0);
  EXPECT_EQ(body["choices"][0]["text"], "hi");
  EXPECT_EQ(body["choices"][0]["logprobs"].dump(),
            R"({"text_offset":[0,1],"token_logprobs":[null,-1.5],"tokens":["h","i"],)"
            R"("top_logprobs":[null,{"i":-1.5,"o":-0.5}]})");
}

TEST_F(CompletionApiTest, IncludeStopStrInOutput) {
  start();
  const auto body =
      ask(completion_json(R"(,"stop":"b","include_stop_str_in_output":true)"), 1, [this] {
        engine_.token(0, 'a');
        engine_.token(0, 'b');
        EXPECT_TRUE(engine_.wait_cancelled(1));
      });
  EXPECT_EQ(body["choices"][0]["text"], "ab");
}

TEST_F(CompletionApiTest, TokenizeAndDetokenizeAreInverse) {
  start();
  const ClientResponse tokens = post("/tokenize", R"({"prompt":"hé","return_token_strs":true})");
  EXPECT_EQ(tokens.body,
            "{\"count\":3,\"max_model_len\":128,\"tokens\":[104,195,169],\"token_strs\":[\"h\","
            "\"\xEF\xBF\xBD\",\"\xEF\xBF\xBD\"]}");
  EXPECT_EQ(post("/detokenize", R"({"tokens":[104,195,169]})").body, R"({"prompt":"hé"})");
  EXPECT_EQ(error_of(post("/detokenize", R"({"tokens":[99999]})"))["param"], "tokens[0]");
  const auto chat = nlohmann::json::parse(
      post("/tokenize", R"({"messages":[{"role":"user","content":"a"}]})").body);
  EXPECT_EQ(chat["count"], 7);
}

}  // namespace
}  // namespace conclave::coordinator
