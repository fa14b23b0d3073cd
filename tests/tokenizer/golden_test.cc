// Encoding and decoding against files made with Hugging Face tokenizers 0.23.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

// Golden token strings show the white space that a token has swallowed; a vocabulary does not.
std::string without_outer_spaces(const std::string& text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string::npos) return text;
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

class GoldenTokenizer : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTokenizer, EncodesAndDecodesEveryCaseExactly) {
  const auto tokenizer = load_folder(golden_folder(GetParam()));
  ASSERT_NE(tokenizer, nullptr);
  const nlohmann::json golden = read_json(golden_folder(GetParam()) + "/golden.json");
  EXPECT_EQ(tokenizer->vocab_size(), golden["vocab_size"].get<int32_t>());
  ASSERT_GE(golden["cases"].size(), 30u);
  for (const auto& expected : golden["cases"]) {
    const std::string text = expected["text"];
    SCOPED_TRACE(testing::PrintToString(text));
    const Ids ids = tokenizer->encode(text, true);
    EXPECT_EQ(ids, expected["ids"].get<Ids>());
    EXPECT_EQ(tokenizer->encode(text, false), expected["ids_no_special"].get<Ids>());
    std::vector<std::string> tokens;
    for (const int32_t id : ids) tokens.push_back(tokenizer->token_string(id));
    std::vector<std::string> expected_tokens = expected["tokens"];
    for (size_t i = 0; i < expected_tokens.size() && i < tokens.size(); ++i) {
      if (tokens[i] != expected_tokens[i]) {
        expected_tokens[i] = without_outer_spaces(expected_tokens[i]);
      }
    }
    EXPECT_EQ(tokens, expected_tokens);
    EXPECT_EQ(tokenizer->decode(ids, false), expected["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer->decode(ids, true), expected["decoded_skip"].get<std::string>());
  }
}

TEST_P(GoldenTokenizer, TokenStringsAndIdsAreInverse) {
  const auto tokenizer = load_folder(golden_folder(GetParam()));
  ASSERT_NE(tokenizer, nullptr);
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    const std::string token = tokenizer->token_string(id);
    ASSERT_FALSE(token.empty()) << id;
    EXPECT_EQ(tokenizer->token_id(token), id);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer, testing::ValuesIn(golden_names()),
                         [](const auto& info) { return info.param; });

// Each entry: a small trained tokenizer with random parts of every kind, texts and id sequences.
TEST(GoldenFeatures, EveryKindOfPartEncodesAndDecodesExactly) {
  const nlohmann::json features = read_json(golden_folder("features.json"));
  ASSERT_GE(features.size(), 40u);
  for (size_t i = 0; i < features.size(); ++i) {
    SCOPED_TRACE(i);
    const auto tokenizer = load_text(features[i]["tokenizer"].dump());
    ASSERT_NE(tokenizer, nullptr);
    const auto expect_decoded = [&](const nlohmann::json& expected) {
      const Ids ids = expected["ids"];
      EXPECT_EQ(tokenizer->decode(ids, false), expected["decoded"].get<std::string>());
      if (expected.contains("decoded_skip")) {
        EXPECT_EQ(tokenizer->decode(ids, true), expected["decoded_skip"].get<std::string>());
      }
    };
    for (const auto& expected : features[i]["cases"]) {
      SCOPED_TRACE(testing::PrintToString(expected["text"].get<std::string>()));
      const std::string text = expected["text"];
      EXPECT_EQ(tokenizer->encode(text, true), expected["ids"].get<Ids>());
      EXPECT_EQ(tokenizer->encode(text, false), expected["ids_no_special"].get<Ids>());
      expect_decoded(expected);
    }
    for (const auto& expected : features[i]["decode"]) expect_decoded(expected);
  }
}

TEST(GoldenDemo, EncodesThePromptsAndDecodesTheGreedyContinuations) {
  const auto tokenizer = load_folder(demo_folder());
  ASSERT_NE(tokenizer, nullptr);
  const nlohmann::json golden = read_json(demo_folder() + "/golden.json");
  ASSERT_FALSE(golden["prompts"].empty());
  for (const auto& prompt : golden["prompts"]) {
    EXPECT_EQ(tokenizer->encode(prompt["text"].get<std::string>(), true), prompt["ids"].get<Ids>());
    EXPECT_EQ(tokenizer->decode(prompt["greedy"].get<Ids>(), false),
              prompt["greedy_text"].get<std::string>());
  }
  EXPECT_EQ(tokenizer->eos_token(), "<|im_end|>");
  EXPECT_EQ(tokenizer->bos_token(), "");
  EXPECT_TRUE(tokenizer->is_special(tokenizer->token_id("<|im_end|>").value_or(-1)));
}

}  // namespace
}  // namespace conclave::coordinator
