#include "coordinator/openai/choice.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "coordinator/http/json_text.h"
#include "tests/coordinator/openai/fake_tokenizer.h"

namespace conclave::coordinator {
namespace {

GenerationEnd ended(FinishReason reason, std::optional<int32_t> stop_token = std::nullopt) {
  GenerationEnd end;
  end.reason = reason;
  end.stop_token = stop_token;
  return end;
}

ChoiceOptions options_with(std::vector<std::string> stop, int32_t top_logprobs = -1) {
  ChoiceOptions options;
  options.text.stop = std::move(stop);
  options.top_logprobs = top_logprobs;
  options.text.track_tokens = top_logprobs >= 0;
  return options;
}

// Text cut into random tokens (cut inside characters too), stop strings, logprobs: what is shown
// equals plain search in the whole text, each piece is whole characters, and logprobs never run
// ahead of the text.
TEST(Choice, RandomTokensShowTheTextBeforeTheFirstStop) {
  std::mt19937 random(5);
  const std::vector<std::string> alphabet = {"a", "b", "é", "漢", "🦀"};
  for (int round = 0; round < 3000; ++round) {
    const auto draw = [&](size_t length) {
      std::string text;
      for (size_t i = 0; i < length; ++i) text += alphabet[random() % alphabet.size()];
      return text;
    };
    const std::string text = draw(random() % 16);
    const std::string stop = draw(1 + random() % 3);
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, 1 + random() % 5));
      at += pieces.back().size();
    }
    const auto tokenizer = std::make_shared<FakeTokenizer>(pieces);
    Choice choice(tokenizer, options_with({stop}, 0), {65});
    std::string shown;
    size_t entries = 0;
    size_t entry_bytes = 0;
    bool stopped = false;
    const auto take = [&](const ChoiceOutput& output) {
      ASSERT_EQ(valid_utf8(output.text), output.text);
      shown += output.text;
      for (const LogprobEntry& entry : output.entries) {
        ASSERT_EQ(entry.token, tokenizer->piece(entries++));
        entry_bytes += tokenizer->token_bytes(entry.token).size();
      }
    };
    for (size_t i = 0; i < pieces.size() && !stopped; ++i) {
      ChoiceOutput output;
      stopped = choice.add_token({tokenizer->piece(i), -1.0f, {}}, &output);
      take(output);
    }
    ChoiceOutput rest;
    if (!stopped) choice.finish(ended(FinishReason::kLength), &rest);
    take(rest);
    const size_t found = text.find(stop);
    ASSERT_EQ(shown, text.substr(0, found));
    ASSERT_EQ(choice.finish_reason(), found == std::string::npos ? "length" : "stop");
    // The tokens that are listed cover the shown text and none begins behind it.
    ASSERT_GE(entry_bytes, shown.size());
    if (entries > 0) {
      ASSERT_LT(entry_bytes - pieces[entries - 1].size(), std::max<size_t>(shown.size(), 1));
    }
  }
}

TEST(Choice, LogprobsWaitForHeldBackText) {
  const auto tokenizer = std::make_shared<FakeTokenizer>(std::vector<std::string>{"x", "ST", "ay"});
  Choice choice(tokenizer, options_with({"STOP"}, 0), {65});
  ChoiceOutput first;
  choice.add_token({tokenizer->piece(0), -0.1f, {}}, &first);
  EXPECT_EQ(first.text, "x");
  EXPECT_EQ(first.entries.size(), 1u);
  ChoiceOutput held;
  choice.add_token({tokenizer->piece(1), -0.2f, {}}, &held);
  EXPECT_TRUE(held.empty());
  ChoiceOutput both;
  choice.add_token({tokenizer->piece(2), -0.3f, {}}, &both);
  EXPECT_EQ(both.text, "STay");
  ASSERT_EQ(both.entries.size(), 2u);
  EXPECT_EQ(both.entries[0].logprob, -0.2f);
  EXPECT_EQ(both.entries[1].text_offset, 3);
}

TEST(Choice, MinTokensProtectTheTextFromStopStrings) {
  const auto tokenizer = std::make_shared<FakeTokenizer>();
  ChoiceOptions options = options_with({"b"});
  options.text.min_tokens = 2;
  Choice choice(tokenizer, options, {65});
  ChoiceOutput output;
  EXPECT_FALSE(choice.add_token({'a', 0, {}}, &output));
  EXPECT_FALSE(choice.add_token({'b', 0, {}}, &output));
  EXPECT_TRUE(choice.add_token({'b', 0, {}}, &output));
  EXPECT_EQ(output.text, "ab");
  EXPECT_EQ(choice.completion_tokens(), 3);
}

TEST(Choice, StopTokenIsShownOnlyOnRequest) {
  const auto tokenizer = std::make_shared<FakeTokenizer>(std::vector<std::string>{"<end>"});
  for (const bool include : {false, true}) {
    ChoiceOptions options = options_with({});
    options.text.include_stop = include;
    Choice choice(tokenizer, options, {65});
    ChoiceOutput output;
    choice.add_token({'a', 0, {}}, &output);
    choice.finish(ended(FinishReason::kStop, tokenizer->piece(0)), &output);
    EXPECT_EQ(output.text, include ? "a<end>" : "a");
    EXPECT_EQ(choice.finish_reason(), "stop");
    EXPECT_EQ(choice.completion_tokens(), 1);
  }
}

TEST(Choice, ChatLogprobsHaveTokenLogprobBytesAndAlternatives) {
  const auto tokenizer = std::make_shared<FakeTokenizer>(std::vector<std::string>{"é"});
  Choice choice(tokenizer, options_with({}, 2), {65});
  ChoiceOutput output;
  choice.add_token(
      {tokenizer->piece(0), -0.5f, {{tokenizer->piece(0), -0.5f}, {'b', -1e9f}, {'c', -9}}},
      &output);
  EXPECT_EQ(
      choice.logprobs_json(output.entries),
      R"({"content":[{"token":"é","logprob":-0.5,"bytes":[195,169],"top_logprobs":[)"
      R"({"token":"é","logprob":-0.5,"bytes":[195,169]},{"token":"b","logprob":-9999.0,"bytes":[98]}]}],)"
      R"("refusal":null})");
}

TEST(Choice, CompletionLogprobsHoldTheTokenItselfAndNoKeyTwice) {
  const auto tokenizer = std::make_shared<FakeTokenizer>();
  ChoiceOptions options = options_with({}, 2);
  options.chat = false;
  Choice choice(tokenizer, options, {65});
  ChoiceOutput output;
  choice.add_token({'a', -3.0f, {{'b', -0.25f}, {'c', -2.0f}}}, &output);
  choice.add_token({'b', -0.5f, {{0xC3, -0.5f}, {0xA9, -1.0f}}}, &output);
  EXPECT_EQ(
      choice.logprobs_json(output.entries),
      "{\"tokens\":[\"a\",\"b\"],\"token_logprobs\":[-3.0,-0.5],"
      "\"top_logprobs\":[{\"b\":-0.25,\"c\":-2.0,\"a\":-3.0},{\"\xEF\xBF\xBD\":-0.5,\"b\":-0.5}],"
      "\"text_offset\":[0,1]}");
}

TEST(Choice, TokensCanBeNamedById) {
  const auto tokenizer = std::make_shared<FakeTokenizer>();
  ChoiceOptions options = options_with({}, 0);
  options.tokens_as_ids = true;
  Choice choice(tokenizer, options, {65});
  ChoiceOutput output;
  choice.add_token({'a', -3.0f, {}}, &output);
  EXPECT_NE(choice.logprobs_json(output.entries).find("\"token\":\"token_id:97\""),
            std::string::npos);
}

TEST(Choice, EchoListsThePromptWithNullFirst) {
  const auto tokenizer = std::make_shared<FakeTokenizer>();
  ChoiceOptions options = options_with({}, 1);
  options.chat = false;
  options.echo = true;
  Choice choice(tokenizer, options, {'x', 'y', 'z'});
  PromptPart head;
  head.start = 0;
  head.rows = 1;
  head.logprobs = {{0, {'y', -1.5f}, {{'q', -1.0f}}}};
  choice.add_prompt_part(head);
  PromptPart tail;
  tail.start = 1;
  tail.rows = 2;
  tail.logprobs = {{0, {'z', -2.5f}, {{'z', -2.5f}}}};
  choice.add_prompt_part(tail);
  ChoiceOutput output = choice.echo();
  choice.add_token({'!', -0.5f, {{'!', -0.5f}}}, &output);
  EXPECT_EQ(output.text, "xyz!");
  EXPECT_EQ(
      choice.logprobs_json(output.entries),
      R"({"tokens":["x","y","z","!"],"token_logprobs":[null,-1.5,-2.5,-0.5],)"
      R"("top_logprobs":[null,{"q":-1.0,"y":-1.5},{"z":-2.5},{"!":-0.5}],"text_offset":[0,1,2,3]})");
}

}  // namespace
}  // namespace conclave::coordinator
