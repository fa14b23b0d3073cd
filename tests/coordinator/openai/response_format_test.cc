#include "coordinator/openai/response_format.h"

#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

ResponseIdentity identity(bool chat) {
  return {chat, chat ? "chatcmpl-1" : "cmpl-1", 7, "m", "fp_x"};
}

constexpr const char* kHead =
    R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m",)"
    R"("system_fingerprint":"fp_x","choices":[)";

TEST(ResponseFormat, ChatStreamWithUsage) {
  const StreamFormat format(identity(true), true);
  std::string out;
  format.append_role(&out, 0);
  format.append_text(&out, 1, "é\"", "null");
  format.append_finish(&out, 1, "length");
  format.append_usage(&out, {2, 3, 0});
  StreamFormat::append_done(&out);
  const std::string head = kHead;
  const std::string tail = "}],\"usage\":null}\n\n";
  EXPECT_EQ(
      out,
      head +
          R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null)" +
          tail + head +
          R"({"index":1,"delta":{"content":"é\""},"logprobs":null,"finish_reason":null)" + tail +
          head + R"({"index":1,"delta":{},"logprobs":null,"finish_reason":"length")" + tail + head +
          R"(],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5,)"
          R"("prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}})"
          "\n\ndata: [DONE]\n\n");
}

TEST(ResponseFormat, CompletionStreamWithoutUsage) {
  const StreamFormat format(identity(false), false);
  std::string out;
  format.append_text(&out, 0, "a", "null");
  format.append_finish(&out, 0, "stop");
  format.append_usage(&out, {1, 1, 1});
  const std::string head =
      R"(data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m",)"
    R"("system_fingerprint":"fp_x","choices":[)";
  EXPECT_EQ(out, head +
                     R"({"index":0,"text":"a","logprobs":null,"finish_reason":null}]})"
                     "\n\n" +
                     head +
                     R"({"index":0,"text":"","logprobs":null,"finish_reason":"stop"}]})"
                     "\n\n");
}

}  // namespace
}  // namespace conclave::coordinator
