#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/model_spec.h"

namespace conclave::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

GenerationDefaults parsed(const json& config) {
  auto read = parse_generation_config(config.dump(), "generation_config.json");
  EXPECT_TRUE(read.ok()) << read.status();
  return read.ok() ? *read : GenerationDefaults{};
}

TEST(GenerationKeys, AnotherWayOfChoosingTokensIsUnsupported) {
  const std::vector<std::pair<const char*, json>> asking = {{"num_beams", 4},
                                                            {"penalty_alpha", 0.6},
                                                            {"typical_p", 0.9},
                                                            {"epsilon_cutoff", 3e-4},
                                                            {"eta_cutoff", 3e-4},
                                                            {"no_repeat_ngram_size", 3},
                                                            {"bad_words_ids", {{5}}},
                                                            {"suppress_tokens", {7}},
                                                            {"begin_suppress_tokens", {7}},
                                                            {"forced_bos_token_id", 1},
                                                            {"forced_eos_token_id", 2},
                                                            {"min_new_tokens", 5},
                                                            {"guidance_scale", 1.5},
                                                            {"sequence_bias", {{{1}, -10.0}}},
                                                            {"token_healing", true}};
  for (const auto& [key, value] : asking) {
    const absl::Status status = parsed({{key, value}}).unsupported;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << key;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("generation_config.json: \"" + std::string(key) + "\" is "),
                      HasSubstr("--generation-defaults none")));
  }
}

TEST(GenerationKeys, ValuesThatAskForNothingAreFine) {
  const GenerationDefaults read = parsed({{"num_beams", 1},
                                          {"num_beam_groups", 1.0},
                                          {"penalty_alpha", nullptr},
                                          {"typical_p", 1.0},
                                          {"epsilon_cutoff", 0.0},
                                          {"no_repeat_ngram_size", 0},
                                          {"bad_words_ids", nullptr},
                                          {"suppress_tokens", json::array()},
                                          {"sequence_bias", json::object()},
                                          {"guidance_scale", 1},
                                          {"token_healing", false},
                                          {"max_length", 4096},
                                          {"cache_implementation", "static"},
                                          {"transformers_version", "5.24.0"}});
  EXPECT_TRUE(read.unsupported.ok()) << read.unsupported;
  EXPECT_THAT(read.notes, testing::IsEmpty());
}

TEST(GenerationKeys, UnknownKeysAreNoted) {
  EXPECT_THAT(
      parsed({{"chat_format", "chatml"}}).notes,
      testing::ElementsAre(
          "generation_config.json: \"chat_format\" is no key of generation and has no effect"));
}

}  // namespace
}  // namespace conclave::model
