#include <gtest/gtest.h>

#include "coordinator/openai/requests.h"

namespace conclave::coordinator {
namespace {

constexpr const char* kMessages = R"("messages":[{"role":"user","content":"hi"}])";

std::string body_with(const std::string& extra, const std::string& messages = kMessages) {
  return "{\"model\":\"m\"," + messages + (extra.empty() ? "" : "," + extra) + "}";
}

ChatRequest parsed(const std::string& extra) {
  ChatRequest request;
  const auto error = parse_chat_request(body_with(extra), &request);
  EXPECT_FALSE(error.has_value()) << error->message;
  return request;
}

struct BadField {
  const char* extra;
  const char* param;
  const char* code;
};

class BadChatField : public testing::TestWithParam<BadField> {};

TEST_P(BadChatField, Is400WithParamAndCode) {
  ChatRequest request;
  const auto error = parse_chat_request(body_with(GetParam().extra), &request);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status, 400);
  EXPECT_EQ(error->type, "invalid_request_error");
  EXPECT_EQ(error->param, GetParam().param);
  EXPECT_EQ(error->code, GetParam().code);
  EXPECT_NE(error->message, "");
}

constexpr const char* kType = "invalid_type";
constexpr const char* kValue = "invalid_value";
constexpr const char* kUnsupported = "unsupported_value";
constexpr const char* kUnsupportedParameter = "unsupported_parameter";

INSTANTIATE_TEST_SUITE_P(
    Table, BadChatField,
    testing::Values(
        BadField{R"("temperature":3)", "temperature", kValue},
        BadField{R"("temperature":-0.1)", "temperature", kValue},
        BadField{R"("temperature":"1")", "temperature", kType},
        BadField{R"("temperature":true)", "temperature", kType},
        BadField{R"("top_p":0)", "top_p", kValue}, BadField{R"("top_p":1.01)", "top_p", kValue},
        BadField{R"("min_p":2)", "min_p", kValue}, BadField{R"("top_k":-2)", "top_k", kValue},
        BadField{R"("top_k":1.5)", "top_k", kType},
        BadField{R"("repetition_penalty":0)", "repetition_penalty", kValue},
        BadField{R"("presence_penalty":2.5)", "presence_penalty", kValue},
        BadField{R"("frequency_penalty":-2.5)", "frequency_penalty", kValue},
        BadField{R"("n":0)", "n", kValue}, BadField{R"("n":129)", "n", kValue},
        BadField{R"("n":"2")", "n", kType}, BadField{R"("n":18446744073709551615)", "n", kValue},
        BadField{R"("max_tokens":0)", "max_tokens", kValue},
        BadField{R"("max_tokens":16.0)", "max_tokens", kType},
        BadField{R"("max_completion_tokens":-1)", "max_completion_tokens", kValue},
        BadField{R"("min_tokens":-1)", "min_tokens", kValue},
        BadField{R"("min_tokens":5,"max_tokens":4)", "min_tokens", kValue},
        BadField{R"("stop":["a","b","c","d","e"])", "stop", kValue},
        BadField{R"("stop":[1])", "stop[0]", kType}, BadField{R"("stop":"")", "stop", kValue},
        BadField{R"("stop":{})", "stop", kType}, BadField{R"("seed":"x")", "seed", kType},
        BadField{R"("seed":1.5)", "seed", kType},
        BadField{R"("stop_token_ids":[1,-1])", "stop_token_ids[1]", kType},
        BadField{R"("stop_token_ids":7)", "stop_token_ids", kType},
        BadField{R"("logit_bias":{"5":101})", "logit_bias.5", kValue},
        BadField{R"("logit_bias":{"x":1})", "logit_bias.x", kValue},
        BadField{R"("logit_bias":{"-5":1})", "logit_bias.-5", kValue},
        BadField{R"("logit_bias":{"":1})", "logit_bias.", kValue},
        BadField{R"("logit_bias":{"5":"1"})", "logit_bias.5", kType},
        BadField{R"("logit_bias":[])", "logit_bias", kType}));

INSTANTIATE_TEST_SUITE_P(
    Features, BadChatField,
    testing::Values(
        BadField{R"("logprobs":1)", "logprobs", kType},
        BadField{R"("top_logprobs":2)", "top_logprobs", kValue},
        BadField{R"("logprobs":true,"top_logprobs":21)", "top_logprobs", kValue},
        BadField{R"("stream":"yes")", "stream", kType},
        BadField{R"("stream_options":{"include_usage":true})", "stream_options", kValue},
        BadField{R"("stream":false,"stream_options":{})", "stream_options", kValue},
        BadField{R"("stream":true,"stream_options":{"include_usage":1})",
                 "stream_options.include_usage", kType},
        BadField{R"("tools":[{"type":"function"}])", "tools", kUnsupportedParameter},
        BadField{R"("functions":[{"name":"f"}])", "functions", kUnsupportedParameter},
        BadField{R"("tool_choice":"auto")", "tool_choice", kUnsupported},
        BadField{R"("tool_choice":{"type":"function"})", "tool_choice", kUnsupported},
        BadField{R"("function_call":"auto")", "function_call", kUnsupported},
        BadField{R"("response_format":{"type":"json_object"})", "response_format", kUnsupported},
        BadField{R"("response_format":{})", "response_format.type", kType},
        BadField{R"("response_format":"text")", "response_format", kType},
        BadField{R"("modalities":["audio"])", "modalities", kUnsupported},
        BadField{R"("audio":{"voice":"x"})", "audio", kUnsupportedParameter},
        BadField{R"("chat_template":"x")", "chat_template", kUnsupportedParameter},
        BadField{R"("chat_template_kwargs":[])", "chat_template_kwargs", kType},
        BadField{R"("add_generation_prompt":1)", "add_generation_prompt", kType},
        BadField{R"("priority":"high")", "priority", kType}, BadField{R"("user":5)", "user", kType},
        BadField{R"("ignore_eos":"no")", "ignore_eos", kType},
        BadField{R"("skip_special_tokens":0)", "skip_special_tokens", kType}));

class BadMessages : public testing::TestWithParam<BadField> {};

TEST_P(BadMessages, Are400WithParamAndCode) {
  ChatRequest request;
  const auto error = parse_chat_request(body_with("", GetParam().extra), &request);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->param, GetParam().param);
  EXPECT_EQ(error->code, GetParam().code);
}

constexpr const char* kMissing = "missing_required_parameter";

INSTANTIATE_TEST_SUITE_P(
    Table, BadMessages,
    testing::Values(
        BadField{R"("x":1)", "messages", kMissing},
        BadField{R"("messages":null)", "messages", kMissing},
        BadField{R"("messages":[])", "messages", kValue},
        BadField{R"("messages":"hi")", "messages", kType},
        BadField{R"("messages":["hi"])", "messages[0]", kType},
        BadField{R"("messages":[{"content":"x"}])", "messages[0].role", kMissing},
        BadField{R"("messages":[{"role":7,"content":"x"}])", "messages[0].role", kType},
        BadField{R"("messages":[{"role":"robot","content":"x"}])", "messages[0].role", kValue},
        BadField{R"("messages":[{"role":"user"}])", "messages[0].content", kMissing},
        BadField{R"("messages":[{"role":"user","content":null}])", "messages[0].content", kMissing},
        BadField{R"("messages":[{"role":"user","content":5}])", "messages[0].content", kType},
        BadField{
            R"("messages":[{"role":"user","content":"a"},{"role":"user","content":)"
                 R"([{"type":"image_url","image_url":{"url":"x"}}]}])",
            "messages[1].content[0]", kUnsupported},
        BadField{R"("messages":[{"role":"user","content":[{"text":"x"}]}])",
                 "messages[0].content[0]", kType},
        BadField{R"("messages":[{"role":"user","content":[{"type":"text"}]}])",
                 "messages[0].content[0].text", kType},
        BadField{R"("messages":[{"role":"assistant","tool_calls":{}}])", "messages[0].tool_calls",
                 kType}));

TEST(ChatRequest, ModelMayBeLeftOut) {
  for (const char* model : {"", "\"model\":null,", "\"model\":\"\","}) {
    ChatRequest request;
    EXPECT_FALSE(parse_chat_request(std::string("{") + model + kMessages + "}", &request)) << model;
    EXPECT_EQ(request.fields.model, "");
  }
  ChatRequest request;
  EXPECT_EQ(parse_chat_request(std::string("{\"model\":5,") + kMessages + "}", &request)->param,
            "model");
}

TEST(ChatRequest, FieldsArriveWhereTheyBelong) {
  const ChatRequest request = parsed(
      R"("temperature":0.5,"top_p":0.9,"n":2,"max_tokens":7,"max_completion_tokens":9,"stop":["a","b"],"seed":-1,)"
      R"("presence_penalty":1,"frequency_penalty":-1,"logit_bias":{"3":-100},"logprobs":true,"top_logprobs":4,)"
      R"("stream":true,"stream_options":{"include_usage":true},"top_k":-1,"min_p":0.1,"repetition_penalty":1.5,)"
      R"("stop_token_ids":[5,6],"ignore_eos":true,"min_tokens":3,"skip_special_tokens":false,)"
      R"("include_stop_str_in_output":true,"add_generation_prompt":false,"add_special_tokens":true,)"
      R"("chat_template_kwargs":{"k":1},"priority":-3,"return_tokens_as_token_ids":true)");
  const GenerationFields& fields = request.fields;
  EXPECT_EQ(fields.sampling.temperature, 0.5);
  EXPECT_EQ(fields.sampling.top_p, 0.9);
  EXPECT_EQ(fields.sampling.top_k, 0);
  EXPECT_EQ(fields.sampling.min_p, 0.1);
  EXPECT_EQ(fields.sampling.repetition_penalty, 1.5);
  EXPECT_EQ(fields.sampling.presence_penalty, 1);
  EXPECT_EQ(fields.sampling.frequency_penalty, -1);
  EXPECT_EQ(fields.sampling.seed, ~uint64_t{0});
  ASSERT_EQ(fields.sampling.bias.size(), 1u);
  EXPECT_EQ(fields.sampling.bias[0].token, 3);
  EXPECT_EQ(fields.sampling.bias[0].bias, -100);
  EXPECT_EQ(fields.n, 2);
  EXPECT_EQ(fields.max_tokens, 9) << "max_completion_tokens wins";
  EXPECT_EQ(fields.min_tokens, 3);
  EXPECT_EQ(fields.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(fields.stop_token_ids, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(fields.top_logprobs, 4);
  EXPECT_TRUE(fields.stream && fields.include_usage && fields.ignore_eos &&
              fields.include_stop_str_in_output);
  EXPECT_TRUE(fields.return_tokens_as_token_ids && request.prompt.add_special_tokens);
  EXPECT_FALSE(fields.skip_special_tokens || request.prompt.add_generation_prompt);
  EXPECT_EQ(fields.priority, -3);
  EXPECT_EQ(request.prompt.template_arguments["k"], 1);
  EXPECT_TRUE(fields.unknown.empty());
}

TEST(ChatRequest, LeftOutAndNullFieldsStayEmpty) {
  const ChatRequest request = parsed(
      R"("temperature":null,"n":null,"stop":null,"tools":[],"tool_choice":"none","response_format":{"type":"text"},)"
      R"("modalities":["text"],"logprobs":false,"top_logprobs":0)");
  EXPECT_FALSE(request.fields.sampling.temperature.has_value());
  EXPECT_FALSE(request.fields.max_tokens.has_value());
  EXPECT_FALSE(request.fields.sampling.seed.has_value());
  EXPECT_EQ(request.fields.n, 1);
  EXPECT_EQ(request.fields.top_logprobs, -1);
}

TEST(ChatRequest, UnknownFieldsAreAcceptedAndNamed) {
  const ChatRequest request =
      parsed(R"("wild":1,"user":"u","metadata":{},"store":false,"stream":true,)"
             R"("stream_options":{"odd":1})");
  EXPECT_EQ(request.fields.unknown, (std::vector<std::string>{"stream_options.odd", "wild"}));
}

TEST(ChatRequest, MessagesAreMadePlainForTheTemplate) {
  ChatRequest request;
  const auto error = parse_chat_request(
      body_with(
          "",
          R"("messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
          R"({"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},)"
          R"({"role":"tool","tool_call_id":"1","content":"c"}])"),
      &request);
  ASSERT_FALSE(error.has_value()) << error->message;
  EXPECT_EQ(
      request.prompt.messages.dump(),
      R"([{"role":"developer","content":"a\nb"},{"role":"assistant","content":"","tool_calls":[{"id":"1"}]},)"
      R"({"role":"tool","tool_call_id":"1","content":"c"}])");
}

std::string messages_of(const char* messages) {
  ChatRequest request;
  const auto error = parse_chat_request(body_with("", messages), &request);
  return error.has_value() ? error->param.value_or("") + ": " + error->message : request.prompt.messages.dump();
}

TEST(ChatRequest, AnswersWithoutTextAreHistory) {
  EXPECT_EQ(messages_of(R"("messages":[{"role":"assistant","content":null}])"), R"([{"role":"assistant","content":""}])");
  EXPECT_EQ(messages_of(R"("messages":[{"role":"assistant"}])"), R"([{"role":"assistant","content":""}])");
  EXPECT_EQ(messages_of(R"("messages":[{"role":"assistant","content":null,"tool_calls":null,"refusal":"No."}])"),
            R"([{"role":"assistant","content":"","tool_calls":null,"refusal":"No."}])");
  EXPECT_EQ(messages_of(R"("messages":[{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}}])"),
            R"([{"role":"assistant","content":"","function_call":{"name":"f","arguments":"{}"}}])");
  EXPECT_EQ(messages_of(R"("messages":[{"role":"assistant","content":[{"type":"refusal","refusal":"No."}]}])"),
            R"([{"role":"assistant","content":"","refusal":"No."}])");
  EXPECT_EQ(messages_of(R"("messages":[{"role":"function","name":"f","content":"3"}])"),
            R"([{"role":"function","name":"f","content":"3"}])");
  EXPECT_EQ(messages_of(R"("messages":[{"role":"function","name":"f","content":null}])"),
            R"([{"role":"function","name":"f","content":""}])");
  EXPECT_TRUE(messages_of(R"("messages":[{"role":"tool","content":null}])").starts_with("messages[0].content"));
  EXPECT_TRUE(messages_of(R"("messages":[{"role":"user","content":null}])").starts_with("messages[0].content"));
  EXPECT_TRUE(messages_of(R"("messages":[{"role":"user","content":[{"type":"refusal","refusal":"x"}]}])").starts_with("messages[0].content[0]"));
}

TEST(ChatRequest, EffortIsForTheTemplateAndMessagesComeFromTheirField) {
  EXPECT_EQ(parsed(R"("reasoning_effort":"low")").prompt.reasoning_effort, "low");
  EXPECT_FALSE(parsed(R"("reasoning_effort":null)").prompt.reasoning_effort.has_value());
  ChatRequest request;
  EXPECT_EQ(parse_chat_request(body_with(R"("chat_template_kwargs":{"messages":[]})"), &request)->param,
            "chat_template_kwargs.messages");
}

TEST(ChatRequest, AnIntegerThatNo64BitsHoldIsRefused) {
  ChatRequest request;
  const auto error = parse_chat_request(body_with(R"("chat_template_kwargs":{"n":123456789012345678901234})"), &request);
  ASSERT_TRUE(error.has_value());
  EXPECT_NE(error->message.find("123456789012345678901234"), std::string::npos);
  EXPECT_FALSE(parse_chat_request(body_with(R"("chat_template_kwargs":{"n":1.5e30})"), &request).has_value());
}

}  // namespace
}  // namespace conclave::coordinator
