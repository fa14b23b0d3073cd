// What the files beside tokenizer.json add to it: names of special tokens, more tokens, flags; and
// what the class takes away. Expected values: transformers 5.24 on the same files.

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// a is 0, b is 1, <s> is 2, </s> is 3; the file's own template adds </s> in front.
constexpr const char* kParts = R"({
  "added_tokens": [{"id": 2, "content": "<s>", "special": true}, {"id": 3, "content": "</s>", "special": true}],
  "post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "</s>"}}, {"Sequence": {"id": "A"}}],
    "special_tokens": {"</s>": {"id": "</s>", "ids": [3]}}}})";

TokenizerFiles files_with(const std::string& config) {
  TokenizerFiles files;
  files.folder = "dir";
  files.tokenizer_json = character_tokenizer_json("ab", kParts);
  if (!config.empty()) files.tokenizer_config = config;
  return files;
}

std::shared_ptr<const Tokenizer> load(const TokenizerFiles& files) {
  auto tokenizer = Tokenizer::from_files(files);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

std::string error_of(const TokenizerFiles& files) {
  const auto tokenizer = Tokenizer::from_files(files);
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(tokenizer.status().message());
}

Ids encode_with(const std::string& config, std::string_view text, bool special = false) {
  return load(files_with(config))->encode(text, special);
}

TEST(TokenizerConfig, AddBosAndAddEosChangeNothing) {
  EXPECT_EQ(encode_with("", "a", true), (Ids{3, 0}));
  EXPECT_EQ(encode_with(R"({"bos_token": "<s>"})", "a", true), (Ids{3, 0}));
  for (const char* name : {"PreTrainedTokenizerFast", "SomeonesTokenizer", "GPT2Tokenizer"}) {
    const std::string config =
        std::string(R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true,)") +
        R"( "add_eos_token": true, "tokenizer_class": ")" + name + "\"}";
    EXPECT_EQ(encode_with(config, "a", true), (Ids{3, 0})) << name;
  }
}

TEST(TokenizerConfig, GptNeoXAddsNothingAroundATextWhateverTheFileSays) {
  const std::string config = R"({"bos_token": "<s>", "add_bos_token": true, "tokenizer_class": ")";
  EXPECT_EQ(encode_with(config + "GPTNeoXTokenizer\"}", "a", true), (Ids{0}));
  EXPECT_EQ(encode_with(config + "GPTNeoXTokenizerFast\"}", "a", true), (Ids{0}));
}

TEST(TokenizerConfig, NamesAreTextsOrObjectsAndTheMapWins) {
  TokenizerFiles files = files_with(
      R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "<s>", "sep_token": null, "image_token": "<i>"})");
  EXPECT_THAT(load(files)->special_tokens(), ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "<s>"),
                                                         Pair("image_token", "<i>")));
  files.special_tokens_map = R"({"eos_token": {"content": "</s>"}, "pad_token": "</s>"})";
  EXPECT_THAT(load(files)->special_tokens(), ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "</s>"),
                                                         Pair("image_token", "<i>"), Pair("pad_token", "</s>")));
  EXPECT_EQ(load(files)->eos_id(), 3);
  EXPECT_EQ(load(files_with(""))->eos_id(), std::nullopt);
}

TEST(TokenizerConfig, WithAddedTokensDecoderTheOlderFilesDoNotCount) {
  TokenizerFiles files = files_with(R"({"added_tokens_decoder": {}})");
  files.special_tokens_map = R"({"eos_token": "</s>"})";
  files.added_tokens = R"({"<new>": 4})";
  EXPECT_TRUE(load(files)->special_tokens().empty());
  EXPECT_EQ(load(files)->token_id("<new>"), std::nullopt);
}

TEST(TokenizerConfig, NewTokensAreNumberedBehindTheOthersInTheFilesOrder) {
  TokenizerFiles files = files_with(
      R"({"z_token": "<z>", "pad_token": "<p>", "b_token": "<b>", "eos_token": "<e>", "additional_special_tokens": ["<x>", "<e>"]})");
  files.added_tokens = R"({"<late>": 900, "<early>": 800})";
  const auto tokenizer = load(files);
  int32_t id = 4;
  for (const char* token : {"<early>", "<late>", "<e>", "<p>", "<z>", "<b>", "<x>"}) {
    EXPECT_EQ(tokenizer->token_id(token), id++) << token;
  }
  EXPECT_TRUE(tokenizer->is_special(10));
  EXPECT_FALSE(tokenizer->is_special(4));
}

TEST(TokenizerConfig, ExtraSpecialTokensMayHaveNames) {
  const auto tokenizer = load(files_with(R"({"extra_special_tokens": {"think": "<t>", "eos_token": "</s>"}})"));
  EXPECT_THAT(tokenizer->special_tokens(), ElementsAre(Pair("eos_token", "</s>"), Pair("think", "<t>")));
  EXPECT_EQ(tokenizer->encode("a<t>", false), (Ids{0, 4}));
}

TEST(TokenizerConfig, LaterFlagsWin) {
  EXPECT_EQ(encode_with("", "a  </s>  b"), (Ids{0, 3, 1}));  // spaces have no token here
  const std::string parts = R"({"added_tokens": [{"id": 3, "content": "x", "special": true}]})";
  TokenizerFiles files = files_with(R"({"added_tokens_decoder": {"3": {"content": "x", "lstrip": true, "special": false}}})");
  files.tokenizer_json = character_tokenizer_json("ab ", parts);
  const auto tokenizer = load(files);
  EXPECT_EQ(tokenizer->encode("a  x b", false), (Ids{0, 3, 2, 1}));
}

TEST(TokenizerConfig, SplitSpecialTokensReadsThemAsText) {
  const std::string parts = R"({"added_tokens": [{"id": 2, "content": "ab", "special": true}, {"id": 3, "content": "ba"}]})";
  TokenizerFiles files = files_with(R"({"split_special_tokens": true})");
  files.tokenizer_json = character_tokenizer_json("ab", parts);
  EXPECT_EQ(load(files)->encode("ab ba", false), (Ids{0, 1, 3}));
}

// Metaspace and ByteLevel write the same text in different letters.
TEST(TokenizerConfig, TheClassDecidesWhatTheFileSaysForSomeFamilies) {
  TokenizerFiles files = files_with("");
  files.tokenizer_json = character_tokenizer_json("a▁Ġ", R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}})");
  const auto ids_as = [&files](const char* model_type, const std::string& config) {
    files.model_config = std::string(R"({"model_type": ")") + model_type + "\"}";
    files.tokenizer_config = config;
    return load(files)->encode("a a", false);
  };
  const Ids by_file = {1, 0, 1, 0}, by_bytes = {0, 2, 0}, by_llama = {1, 0, 1, 0};
  EXPECT_EQ(ids_as("qwen3_moe", "{}"), by_bytes);
  EXPECT_EQ(ids_as("qwen3_moe_ext", "{}"), by_bytes);
  EXPECT_EQ(ids_as("olmoe", "{}"), by_bytes);
  EXPECT_EQ(ids_as("mixtral", "{}"), by_file);
  EXPECT_EQ(ids_as("qwen2_moe", R"({"tokenizer_class": "PreTrainedTokenizerFast"})"), by_file);
  EXPECT_EQ(ids_as("qwen2_moe", R"({"tokenizer_class": "NobodysTokenizer"})"), by_file);
  EXPECT_EQ(ids_as("mixtral", R"({"tokenizer_class": "Qwen2TokenizerFast"})"), by_file);
  EXPECT_EQ(ids_as("olmoe", R"({"tokenizer_class": "Qwen2TokenizerFast"})"), by_bytes);
  EXPECT_EQ(ids_as("olmoe", R"({"tokenizer_class": "LlamaTokenizer"})"), by_llama);
  EXPECT_EQ(ids_as("olmoe", R"({"tokenizer_class": "LlamaTokenizer", "add_prefix_space": false})"), (Ids{0, 1, 0}));
}

TEST(TokenizerConfig, ALlamaClassOverAByteLevelFileFollowsTheFile) {
  TokenizerFiles files = files_with(R"({"tokenizer_class": "LlamaTokenizerFast"})");
  files.tokenizer_json = character_tokenizer_json("a▁Ġ", R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}})");
  EXPECT_EQ(load(files)->encode("a a", false), (Ids{0, 2, 0}));
}

TEST(TokenizerConfig, AClassBringsItsSpecialTokens) {
  TokenizerFiles files = files_with(R"({"tokenizer_class": "Qwen2Tokenizer", "pad_token": null})");
  EXPECT_THAT(load(files)->special_tokens(),
              ElementsAre(Pair("eos_token", "<|endoftext|>"), Pair("unk_token", "<|endoftext|>")));
  EXPECT_EQ(load(files)->eos_id(), 4);
}

struct Broken {
  const char* name;
  std::optional<std::string> TokenizerFiles::*file;
  const char* text;
  const char* words;
};
class BrokenSettings : public testing::TestWithParam<Broken> {};

TEST_P(BrokenSettings, AreOneSentenceThatNamesFileAndKey) {
  TokenizerFiles files = files_with("");
  files.*GetParam().file = GetParam().text;
  const std::string message = error_of(files);
  EXPECT_THAT(message, HasSubstr(GetParam().words));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

constexpr auto kConfig = &TokenizerFiles::tokenizer_config;
constexpr auto kMap = &TokenizerFiles::special_tokens_map;
constexpr auto kAdded = &TokenizerFiles::added_tokens;
INSTANTIATE_TEST_SUITE_P(
    All, BrokenSettings,
    testing::Values(
        Broken{"Syntax", kConfig, "{", "dir/tokenizer_config.json: not valid JSON"},
        Broken{"Array", kMap, "[]", "dir/special_tokens_map.json: must be a JSON object"},
        Broken{"AddedArray", kAdded, "[]", "dir/added_tokens.json: must be a JSON object"},
        Broken{"TokenNumber", kConfig, R"({"eos_token": 5})", "dir/tokenizer_config.json: eos_token: must be a token"},
        Broken{"TokenList", kMap, R"({"pad_token": ["x"]})", "dir/special_tokens_map.json: pad_token: must be a token"},
        Broken{"NoContent", kMap, R"({"pad_token": {"lstrip": true}})", "pad_token: must be a token"},
        Broken{"Flag", kConfig, R"({"eos_token": {"content": "x", "lstrip": 1}})", "eos_token: \"lstrip\" must be true or false"},
        Broken{"ExtraNumber", kConfig, R"({"extra_special_tokens": 5})", "extra_special_tokens: must be a list"},
        Broken{"ExtraItem", kConfig, R"({"additional_special_tokens": ["a", 5]})", "extra_special_tokens[1]: must be a token"},
        Broken{"NamedNumber", kConfig, R"({"extra_special_tokens": {"think": 5}})", "think: must be a token"},
        Broken{"DecoderList", kConfig, R"({"added_tokens_decoder": []})", "added_tokens_decoder: must be an object"},
        Broken{"DecoderKey", kConfig, R"({"added_tokens_decoder": {"x": {"content": "y"}}})", "added_tokens_decoder[\"x\"]: the key must be a token id"},
        Broken{"DecoderText", kConfig, R"({"added_tokens_decoder": {"5": "y"}})", "added_tokens_decoder[\"5\"]: must be a token object"},
        Broken{"AddedText", kAdded, R"({"<x>": "5"})", "dir/added_tokens.json: the id of \"<x>\" must be a whole number"},
        Broken{"Class", kConfig, R"({"tokenizer_class": 5})", "dir/tokenizer_config.json: \"tokenizer_class\" must be a string"},
        Broken{"Split", kConfig, R"({"split_special_tokens": "yes"})", "\"split_special_tokens\" must be true or false"},
        Broken{"Versions", kConfig, R"({"fast_tokenizer_files": ["tokenizer.4.0.json"]})", "fast_tokenizer_files: tokenizer files by version"},
        Broken{"CleanUp", kConfig,
               R"({"clean_up_tokenization_spaces": true, "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": true})",
               "cleaning up spaces"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TokenizerConfig, EveryFileIsReadFromTheModelFolder) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "tokenizer_config_test";
  std::filesystem::create_directories(folder);
  const auto write = [&folder](const char* name, const std::string& text) { std::ofstream(folder / name) << text; };
  write("tokenizer.json", character_tokenizer_json("ab", kParts));
  write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  write("special_tokens_map.json", R"({"eos_token": "</s>"})");
  write("added_tokens.json", R"({"<new>": 4})");
  write("config.json", R"({"model_type": "olmoe"})");
  const auto tokenizer = load_folder(folder.string());
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->special_tokens(), ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "</s>"),
                                                       Pair("pad_token", "<|padding|>"), Pair("unk_token", "<|endoftext|>")));
  EXPECT_EQ(tokenizer->encode("a<new>", true), (Ids{0, 4}));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace conclave::coordinator
