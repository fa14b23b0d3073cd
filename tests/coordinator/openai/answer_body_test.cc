#include "coordinator/openai/answer_body.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/coordinator/openai/fake_tokenizer.h"

namespace conclave::coordinator {
namespace {

ResponseIdentity identity(bool chat) {
  return {chat, chat ? "chatcmpl-1" : "cmpl-1", 7, "m", "fp_x"};
}

FinishedChoice choice(std::string text, std::string_view reason,
                      std::vector<LogprobEntry> entries = {}) {
  FinishedChoice choice{.text = std::move(text), .logprobs = {}, .finish_reason = reason};
  choice.logprobs.append(entries);
  return choice;
}

std::string whole(AnswerBody body, size_t piece = size_t{1} << 20) {
  std::string out;
  while (body.next(&out, piece)) {
  }
  return out;
}

LogprobsWish wish(int32_t top) { return {std::make_shared<FakeTokenizer>(), top, false}; }

std::vector<LogprobEntry> two_tokens() {
  return {{.token = 'a', .logprob = -0.5f, .top = {{'a', -0.5f}, {'b', -1.5f}}, .text_offset = 3},
          {.token = 'c', .logprob = std::nullopt, .top = {}, .text_offset = 4}};
}

TEST(AnswerBody, WholeChatAnswer) {
  EXPECT_EQ(
      whole({identity(true), {choice("a\n", "stop"), choice("b", "length")}, {3, 2, 1}, {}}),
      R"({"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","system_fingerprint":"fp_x",)"
      R"("choices":[{"index":0,"message":{"role":"assistant","content":"a\n","refusal":null},"logprobs":null,)"
      R"("finish_reason":"stop"},{"index":1,"message":{"role":"assistant","content":"b","refusal":null},)"
      R"("logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2,)"
      R"("total_tokens":5,"prompt_tokens_details":{"cached_tokens":1},)"
      R"("completion_tokens_details":{"reasoning_tokens":0}}})");
}

TEST(AnswerBody, WholeCompletion) {
  EXPECT_EQ(
      whole({identity(false), {choice("a", "stop")}, {1, 1, 0}, {}}),
      R"({"id":"cmpl-1","object":"text_completion","created":7,"model":"m","system_fingerprint":"fp_x",)"
      R"("choices":[{"index":0,"text":"a","logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,)"
      R"("completion_tokens":1,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0},)"
      R"("completion_tokens_details":{"reasoning_tokens":0}}})");
}

TEST(AnswerBody, LogprobsAreAsInAStream) {
  for (const bool chat : {true, false}) {
    FakeTokenizer tokenizer;
    std::string expected;
    LogprobsFormat({&tokenizer, 2, false}, chat).append(&expected, two_tokens());
    const std::string body = whole(
        {identity(chat), {choice("ac", "stop", two_tokens()), choice("", "length")}, {}, wish(2)});
    EXPECT_NE(body.find("\"logprobs\":" + expected), std::string::npos) << body;
    const auto json = nlohmann::json::parse(body);
    const auto& none = json["choices"][1]["logprobs"];
    EXPECT_TRUE(none[chat ? "content" : "text_offset"].empty()) << none;
  }
}

TEST(AnswerBody, PiecesOfAnySizeJoinToTheSameText) {
  for (const bool chat : {true, false}) {
    const auto make = [chat] {
      return AnswerBody(identity(chat),
                        {choice("ac", "stop", two_tokens()), choice("x", "length", two_tokens())},
                        {1, 2, 0}, wish(2));
    };
    for (const size_t piece : {1, 7, 100}) EXPECT_EQ(whole(make(), piece), whole(make()));
  }
}

TEST(AnswerBody, APieceIsHardlyLongerThanAsked) {
  std::vector<LogprobEntry> many(5000, two_tokens()[0]);
  AnswerBody body(identity(true), {choice("t", "stop", std::move(many))}, {}, wish(2));
  size_t pieces = 0;
  for (bool more = true; more; ++pieces) {
    std::string piece;
    more = body.next(&piece, 1000);
    ASSERT_LT(piece.size(), 2000u);
  }
  EXPECT_GT(pieces, 100u);
}

TEST(LogprobStore, GivesBackWhatItGot) {
  LogprobStore store;
  store.append(two_tokens());
  store.append(two_tokens());
  ASSERT_EQ(store.size(), 4u);
  for (size_t i = 0; i < store.size(); ++i) {
    const LogprobEntry expected = two_tokens()[i % 2], entry = store.at(i);
    EXPECT_EQ(entry.token, expected.token);
    EXPECT_EQ(entry.logprob, expected.logprob);
    EXPECT_EQ(entry.text_offset, expected.text_offset);
    ASSERT_EQ(entry.top.size(), expected.top.size());
    for (size_t k = 0; k < entry.top.size(); ++k) {
      EXPECT_EQ(entry.top[k].token, expected.top[k].token);
      EXPECT_EQ(entry.top[k].logprob, expected.top[k].logprob);
    }
  }
  EXPECT_LE(LogprobStore::bytes_per_token(20), 200u);
}

}  // namespace
}  // namespace conclave::coordinator
