#include <gtest/gtest.h>

#include "coordinator/openai/requests.h"

namespace conclave::coordinator {
namespace {

struct BadField {
  const char* extra;
  const char* param;
  const char* code;
};

class BadCompletionField : public testing::TestWithParam<BadField> {};

TEST_P(BadCompletionField, Is400WithParamAndCode) {
  CompletionRequest request;
  const auto error =
      parse_completion_request(std::string(R"({"model":"m",)") + GetParam().extra + "}", &request);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status, 400);
  EXPECT_EQ(error->param, GetParam().param);
  EXPECT_EQ(error->code, GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadCompletionField,
    testing::Values(BadField{R"("x":1)", "prompt", "missing_required_parameter"},
                    BadField{R"("prompt":5)", "prompt", "invalid_type"},
                    BadField{R"("prompt":[])", "prompt", "invalid_value"},
                    BadField{R"("prompt":[[]])", "prompt[0]", "invalid_value"},
                    BadField{R"("prompt":["a",1])", "prompt[1]", "invalid_type"},
                    BadField{R"("prompt":[1,"a"])", "prompt[1]", "invalid_type"},
                    BadField{R"("prompt":[1,2.5])", "prompt[1]", "invalid_type"},
                    BadField{R"("prompt":[[1],["a"]])", "prompt[1][0]", "invalid_type"},
                    BadField{R"("prompt":[[1],[-1]])", "prompt[1][0]", "invalid_type"},
                    BadField{R"("prompt":[[1],"a"])", "prompt[1]", "invalid_type"},
                    BadField{R"("prompt":[true])", "prompt[0]", "invalid_type"},
                    BadField{R"("prompt":"a","suffix":"b")", "suffix", "unsupported_parameter"},
                    BadField{R"("prompt":"a","best_of":2)", "best_of", "unsupported_value"},
                    BadField{R"("prompt":"a","logprobs":21)", "logprobs", "invalid_value"},
                    BadField{R"("prompt":"a","logprobs":true)", "logprobs", "invalid_type"},
                    BadField{R"("prompt":"a","echo":1)", "echo", "invalid_type"},
                    BadField{R"("prompt":"a","max_tokens":-1)", "max_tokens", "invalid_value"},
                    BadField{R"("prompt":["a","b"],"n":65)", "n", "invalid_value"},
                    BadField{R"("prompt":"a","temperature":3)", "temperature", "invalid_value"},
                    BadField{R"("prompt":"a","response_format":{"type":"json_schema"})",
                             "response_format", "unsupported_value"}));

CompletionRequest parsed(const std::string& fields) {
  CompletionRequest request;
  const auto error = parse_completion_request("{\"model\":\"m\"," + fields + "}", &request);
  EXPECT_FALSE(error.has_value()) << error->message;
  return request;
}

TEST(CompletionRequest, AllFourPromptShapes) {
  EXPECT_EQ(std::get<std::string>(parsed(R"("prompt":"a")").prompts.at(0)), "a");
  EXPECT_EQ(std::get<std::string>(parsed(R"("prompt":["a","b"])").prompts.at(1)), "b");
  EXPECT_EQ(std::get<std::vector<int32_t>>(parsed(R"("prompt":[1,2])").prompts.at(0)),
            (std::vector<int32_t>{1, 2}));
  const CompletionRequest lists = parsed(R"("prompt":[[1],[2,3]])");
  ASSERT_EQ(lists.prompts.size(), 2u);
  EXPECT_EQ(std::get<std::vector<int32_t>>(lists.prompts[1]), (std::vector<int32_t>{2, 3}));
}

TEST(CompletionRequest, OwnFieldsAndDefaults) {
  const CompletionRequest plain = parsed(R"("prompt":"a")");
  EXPECT_FALSE(plain.echo);
  EXPECT_TRUE(plain.add_special_tokens);
  EXPECT_EQ(plain.fields.top_logprobs, -1);
  const CompletionRequest full =
      parsed(R"("prompt":"a","echo":true,"logprobs":0,"max_tokens":0,"n":2,"best_of":2)");
  EXPECT_TRUE(full.echo);
  EXPECT_EQ(full.fields.top_logprobs, 0);
  EXPECT_EQ(full.fields.max_tokens, 0);
}

TEST(TokenizeRequest, NeedsPromptOrMessages) {
  TokenizeRequest request;
  EXPECT_EQ(parse_tokenize_request("{}", &request)->param, "prompt");
  EXPECT_EQ(parse_tokenize_request(R"({"messages":[]})", &request)->param, "messages");
  EXPECT_FALSE(
      parse_tokenize_request(R"({"prompt":"x","add_special_tokens":false})", &request).has_value());
  EXPECT_FALSE(request.add_special_tokens);
}

TEST(DetokenizeRequest, NeedsTokens) {
  DetokenizeRequest request;
  EXPECT_EQ(parse_detokenize_request("{}", &request)->param, "tokens");
  EXPECT_EQ(parse_detokenize_request(R"({"tokens":[1,"a"]})", &request)->param, "tokens[1]");
  EXPECT_FALSE(parse_detokenize_request(R"({"tokens":[]})", &request).has_value());
}

}  // namespace
}  // namespace conclave::coordinator
