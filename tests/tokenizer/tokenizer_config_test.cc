// tokenizer_config.json: which tokens surround a text.

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

// a is 0, <s> is 1, </s> is 2; the file's own template adds </s> in front.
constexpr const char* kParts = R"({
  "added_tokens": [{"id": 1, "content": "<s>", "special": true}, {"id": 2, "content": "</s>", "special": true}],
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "</s>"}}, {"Sequence": {"id": "A"}}],
    "special_tokens": {"</s>": {"id": "</s>", "ids": [2]}}}})";

Ids encode_with(const std::string& config) {
  return load_text(character_tokenizer_json("a", kParts), config)->encode("a", true);
}

TEST(TokenizerConfig, WithoutSettingsTheFilesOwnTemplateHolds) {
  EXPECT_EQ(encode_with(""), (Ids{2, 0}));
  EXPECT_EQ(encode_with(R"({"bos_token": "<s>"})"), (Ids{2, 0}));
  EXPECT_EQ(encode_with(R"({"bos_token": "<s>", "add_bos_token": null})"), (Ids{2, 0}));
}

TEST(TokenizerConfig, SettingsReplaceTheTemplate) {
  EXPECT_EQ(encode_with(R"({"bos_token": "<s>", "add_bos_token": true})"), (Ids{1, 0}));
  EXPECT_EQ(encode_with(R"({"bos_token": "<s>", "add_bos_token": false})"), (Ids{0}));
  EXPECT_EQ(
      encode_with(
          R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true})"),
      (Ids{1, 0, 2}));
  EXPECT_EQ(encode_with(R"({"eos_token": "</s>", "add_eos_token": true})"), (Ids{0, 2}));
}

TEST(TokenizerConfig, ASettingWithoutItsTokenCountsAsFalse) {
  EXPECT_EQ(encode_with(R"({"bos_token": null, "add_bos_token": true})"), (Ids{0}));
  EXPECT_EQ(encode_with(R"({"bos_token": "<absent>", "add_bos_token": true})"), (Ids{0}));
}

TEST(TokenizerConfig, TokensMayBeObjects) {
  const auto tokenizer =
      load_text(character_tokenizer_json("a", kParts),
                R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"})");
  EXPECT_EQ(tokenizer->bos_token(), "<s>");
  EXPECT_EQ(tokenizer->eos_token(), "</s>");
}

TEST(TokenizerConfig, IsReadFromTheModelFolder) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "tokenizer_config_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json") << character_tokenizer_json("a", kParts);
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token": "<s>", "add_bos_token": true})";
  const auto tokenizer = load_folder(folder.string());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->encode("a", true), (Ids{1, 0}));
  std::ofstream(folder / "tokenizer_config.json") << "{";
  const auto broken = Tokenizer::from_folder(folder.string());
  ASSERT_FALSE(broken.ok());
  EXPECT_THAT(std::string(broken.status().message()), testing::HasSubstr("tokenizer_config.json"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace conclave::coordinator
