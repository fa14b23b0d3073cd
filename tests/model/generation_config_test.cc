#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(GenerationConfig, ReadsEveryField) {
  auto read = parse_generation_config(
      R"({"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.05,
          "repetition_penalty": 1.1, "max_new_tokens": 64, "eos_token_id": [2, 3],
          "bos_token_id": 1, "unknown": {"x": []}})",
      "generation_config.json");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->do_sample, true);
  EXPECT_EQ(read->temperature, 0.7f);
  EXPECT_EQ(read->top_k, 20);
  EXPECT_EQ(read->top_p, 0.9f);
  EXPECT_EQ(read->min_p, 0.05f);
  EXPECT_EQ(read->repetition_penalty, 1.1f);
  EXPECT_EQ(read->max_new_tokens, 64);
  EXPECT_THAT(read->eos_ids, ElementsAre(2, 3));
  EXPECT_THAT(read->bos_ids, ElementsAre(1));
}

TEST(GenerationConfig, AbsentAndNullFieldsStayUnset) {
  auto read = parse_generation_config(R"({"temperature": null})", "g");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->temperature || read->do_sample || read->top_k || read->max_new_tokens);
  EXPECT_THAT(read->eos_ids, IsEmpty());
}

TEST(GenerationConfig, WrongTypesAreSentences) {
  const auto message = [](const std::string& text) {
    return std::string(
        parse_generation_config(text, "dir/generation_config.json").status().message());
  };
  EXPECT_THAT(
      message(R"({"temperature": "hot"})"),
      HasSubstr("dir/generation_config.json: \"temperature\" is \"hot\", expected a number"));
  EXPECT_THAT(message(R"({"top_p": 1.5})"),
              HasSubstr("\"top_p\" is 1.5, expected a number from 0 to 1"));
  EXPECT_THAT(message(R"({"top_k": 1.5})"), HasSubstr("expected an integer"));
  EXPECT_THAT(message(R"({"eos_token_id": "</s>"})"), HasSubstr("\"eos_token_id\""));
  EXPECT_THAT(message(R"({"eos_token_id": [1, "x"]})"), HasSubstr("\"eos_token_id\""));
  EXPECT_THAT(message(R"({"repetition_penalty": 0})"), HasSubstr("above 0"));
  EXPECT_THAT(message("nonsense"), HasSubstr("not valid JSON"));
}

TEST(ModelDescription, GenerationConfigDecidesTheStopTokens) {
  auto read = read_model_description(golden_folder("mixtral"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->spec.eos_ids, ElementsAre(2, 3));
  EXPECT_THAT(read->spec.bos_ids, ElementsAre(1));
  EXPECT_EQ(read->generation.top_k, 20);
}

TEST(ModelDescription, WithoutGenerationConfigTheConfigDecides) {
  TempFolder folder;
  write_text(folder.file("config.json"), file_text(golden_folder("mixtral") + "/config.json"));
  auto read = read_model_description(folder.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->spec.eos_ids, ElementsAre(2));
  EXPECT_FALSE(read->generation.temperature.has_value());
}

TEST(ModelDescription, IdsOutsideTheVocabularyAreDropped) {
  TempFolder folder;
  write_text(folder.file("config.json"), file_text(golden_folder("mixtral") + "/config.json"));
  write_text(folder.file("generation_config.json"),
             R"({"eos_token_id": [5, -2, 511, 512, 100000]})");
  auto read = read_model_description(folder.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->spec.eos_ids, ElementsAre(2, 5, 511));  // 2: config.json's
}

TEST(ModelDescription, ABrokenGenerationConfigIsAnErrorNotAnAbsence) {
  TempFolder folder;
  write_text(folder.file("config.json"), file_text(golden_folder("mixtral") + "/config.json"));
  write_text(folder.file("generation_config.json"), "{");
  EXPECT_THAT(std::string(read_model_description(folder.path()).status().message()),
              HasSubstr(folder.file("generation_config.json")));
}

}  // namespace
}  // namespace conclave::model
