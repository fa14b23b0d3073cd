#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

std::string error_of(const std::string& json) {
  const auto tokenizer = Tokenizer::from_json(json, "", "dir/tokenizer.json");
  EXPECT_FALSE(tokenizer.ok()) << json.substr(0, 200);
  if (tokenizer.ok()) return "";
  const std::string message(tokenizer.status().message());
  EXPECT_THAT(message, testing::StartsWith("dir/tokenizer.json"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message;
}

std::string error_with(const std::string& parts) {
  return error_of(character_tokenizer_json("ab", parts));
}

TEST(TokenizerErrors, AMissingFileNamesThePathAndTheRemedy) {
  const auto tokenizer = Tokenizer::from_folder("/nonexistent/model");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(tokenizer.status().message()),
              testing::AllOf(testing::HasSubstr("/nonexistent/model/tokenizer.json"),
                             testing::HasSubstr("save_pretrained")));
}

TEST(TokenizerErrors, WhatIsNoTokenizerFileIsRefused) {
  for (const char* json :
       {"", "x", "[]", "null", "{\"model\":", "{}", R"({"model": null})", R"({"model": []})"}) {
    error_of(json);
  }
  EXPECT_THAT(error_of(std::string(100000, '[')), testing::HasSubstr("nested"));
}

TEST(TokenizerErrors, OtherModelsAreNamed) {
  for (const char* type : {"Unigram", "WordPiece", "WordLevel"}) {
    const std::string message =
        error_of(std::string(R"({"model": {"type": ")") + type + R"(", "vocab": []}})");
    EXPECT_THAT(message, testing::AllOf(testing::HasSubstr(type), testing::HasSubstr("only BPE")));
  }
}

TEST(TokenizerErrors, UnknownPartsAreNamedWithTheirPlace) {
  EXPECT_THAT(
      error_with(R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}]}})"),
      testing::AllOf(testing::HasSubstr("normalizers[0]"), testing::HasSubstr("\"Nmt\"")));
  EXPECT_THAT(error_with(R"({"pre_tokenizer": {"type": "UnicodeScripts"}})"),
              testing::HasSubstr("\"UnicodeScripts\""));
  EXPECT_THAT(error_with(R"({"post_processor": {"type": "Other"}})"),
              testing::HasSubstr("\"Other\""));
  EXPECT_THAT(error_with(R"({"decoder": {"type": "CTC"}})"), testing::HasSubstr("\"CTC\""));
}

// Found by the fuzzer: forty of them made a text of a few bytes longer than any memory.
TEST(TokenizerErrors, AChainOfByteLevelsIsRefused) {
  const std::string level = R"({"type": "ByteLevel"})", more = level + ", " + level + ", " + level + ", " + level;
  EXPECT_THAT(error_with(R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [)" + more +
                         R"(, {"type": "Sequence", "pretokenizers": [)" + level + "]}]}}"),
              testing::AllOf(testing::HasSubstr("pre_tokenizer"), testing::HasSubstr("5 ByteLevel steps")));
  EXPECT_THAT(error_with(R"({"normalizer": {"type": "Sequence", "normalizers": [)" + more + ", " + level + "]}}"),
              testing::HasSubstr("5 ByteLevel steps"));
}

TEST(TokenizerErrors, IdsOutOfRangeAreRefused) {
  for (const char* id : {"-1", "1.5", "\"1\"", "4194304", "99999999999999999999", "null", "[]"}) {
    error_of(std::string(R"({"model": {"type": "BPE", "vocab": {"a": )") + id +
             R"(}, "merges": []}})");
    error_with(std::string(R"({"added_tokens": [{"content": "<x>", "id": )") + id + "}]}");
  }
}

TEST(TokenizerErrors, MergesMustBePairsOfKnownTokens) {
  for (const char* merges : {R"(["a"])", R"(["a b c"])", R"([["a"]])", R"([["a", 1]])",
                             R"(["a x"])", R"(["a b"])", R"([1])", "{}"}) {
    EXPECT_THAT(error_with(std::string(R"({"model": {"merges": )") + merges + "}}"),
                testing::HasSubstr("merges"));
  }
}

TEST(TokenizerErrors, FieldsOfTheWrongTypeAreNamed) {
  EXPECT_THAT(error_with(R"({"model": {"byte_fallback": 1}})"),
              testing::HasSubstr("\"byte_fallback\""));
  EXPECT_THAT(error_with(R"({"added_tokens": {}})"), testing::HasSubstr("\"added_tokens\""));
  EXPECT_THAT(error_with(R"({"added_tokens": [7]})"), testing::HasSubstr("added_tokens[0]"));
  EXPECT_THAT(error_with(R"({"normalizer": {"type": "Prepend", "prepend": 3}})"),
              testing::HasSubstr("\"prepend\""));
  EXPECT_THAT(error_with(R"({"normalizer": 3})"), testing::HasSubstr("normalizer"));
  EXPECT_THAT(
      error_with(R"({"decoder": {"type": "Strip", "content": "ab", "start": 1, "stop": 0}})"),
      testing::HasSubstr("one character"));
  EXPECT_THAT(
      error_with(R"({"decoder": {"type": "Strip", "content": " ", "start": -1, "stop": 0}})"),
      testing::HasSubstr("\"start\""));
  EXPECT_THAT(
      error_with(R"({"pre_tokenizer": {"type": "Split", "pattern": "x", "behavior": "Isolated"}})"),
      testing::HasSubstr("\"pattern\""));
  EXPECT_THAT(
      error_with(
          R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Odd"}})"),
      testing::HasSubstr("\"Odd\""));
  EXPECT_THAT(
      error_with(
          R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"}})"),
      testing::HasSubstr("\"prepend_scheme\""));
}

TEST(TokenizerErrors, ABadPatternIsQuoted) {
  EXPECT_THAT(
      error_with(
          R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}})"),
      testing::AllOf(testing::HasSubstr("pre_tokenizer"), testing::HasSubstr("\"(a\"")));
}

TEST(TokenizerErrors, LongUntrustedTextIsCutInMessages) {
  const std::string name(10000, 'x');
  EXPECT_LT(error_with(R"({"decoder": {"type": ")" + name + "\"}}").size(), 400u);
}

}  // namespace
}  // namespace conclave::coordinator
