// Rotary frequencies against numbers worked out by hand from the published formulas, and which of
// the file's rope settings hold.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/model_spec.h"

namespace conclave::model {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// olmoe: its default theta is 10000.
json small_config(int head_dim) {
  return {{"model_type", "olmoe"},    {"hidden_size", 32},      {"num_attention_heads", 2},
          {"head_dim", head_dim},     {"num_hidden_layers", 1}, {"num_experts", 4},
          {"num_experts_per_tok", 2}, {"vocab_size", 100},      {"max_position_embeddings", 16384}};
}

ModelSpec spec_of(const json& config) {
  auto spec = parse_config(config.dump(), "config.json");
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : ModelSpec{};
}

RopeSpec rope_of(const json& config) { return spec_of(config).rope; }

std::string error_of(const json& config) {
  const auto spec = parse_config(config.dump(), "config.json");
  EXPECT_FALSE(spec.ok());
  return std::string(spec.status().message());
}

void expect_frequencies(const RopeSpec& rope, const std::vector<double>& expected) {
  ASSERT_EQ(rope.inverse_freq.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(rope.inverse_freq[i] / expected[i], 1.0, 1e-6) << i;
  }
}

// The same scaling in both spellings.
std::vector<json> both_spellings(int head_dim, double theta, json scaling) {
  json v4 = small_config(head_dim);
  v4["rope_theta"] = theta;
  v4["rope_scaling"] = scaling;
  json older = v4;
  older["rope_scaling"]["type"] = scaling["rope_type"];
  older["rope_scaling"].erase("rope_type");
  json v5 = small_config(head_dim);
  scaling["rope_theta"] = theta;
  v5["rope_parameters"] = scaling;
  return {v4, older, v5};
}

TEST(Rope, DefaultFrequencies) {
  const RopeSpec rope = rope_of(small_config(8));
  EXPECT_EQ(rope.rotary_dim, 8);
  EXPECT_EQ(rope.attention_factor, 1.0f);
  expect_frequencies(rope, {1, 0.1, 0.01, 0.001});
}

TEST(Rope, LinearDividesByTheFactor) {
  for (const json& config : both_spellings(8, 10000, {{"rope_type", "linear"}, {"factor", 4.0}})) {
    expect_frequencies(rope_of(config), {0.25, 0.025, 0.0025, 0.00025});
  }
}

TEST(Rope, YarnBlendsBetweenTheCorrectionDimensions) {
  for (const json& config : both_spellings(
           16, 1e6,
           {{"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 4096}})) {
    const RopeSpec rope = rope_of(config);
    // low = floor(1.745), high = ceil(3.752)
    expect_frequencies(rope, {1, 0.177827941, 0.0237170825, 0.00281170663, 0.00025, 4.44569853e-05,
                              7.90569415e-06, 1.40585331e-06});
    EXPECT_NEAR(rope.attention_factor, 1.138629436, 1e-6);
  }
}

TEST(Rope, YarnWithoutTruncationAndWithNullForItsFactor) {
  json config = small_config(16);
  config["rope_parameters"] = {{"rope_type", "yarn"},
                               {"rope_theta", 1e6},
                               {"truncate", false},
                               {"factor", nullptr},
                               {"original_max_position_embeddings", 4096}};
  // factor = max_position_embeddings / original = 4
  expect_frequencies(rope_of(config), {1, 0.177827941, 0.0286136088, 0.00298673451, 0.00025,
                                       4.44569853e-05, 7.90569415e-06, 1.40585331e-06});
  const std::vector<float> untruncated = rope_of(config).inverse_freq;
  config["rope_parameters"]["truncate"] = nullptr;  // as false, in Python
  EXPECT_EQ(rope_of(config).inverse_freq, untruncated);
  EXPECT_EQ(spec_of(config).max_positions, 16384);
}

TEST(Rope, YarnBetasOfZeroAreNotGiven) {
  json config = small_config(16);
  config["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4}, {"rope_theta", 1e6}};
  const std::vector<float> plain = rope_of(config).inverse_freq;
  config["rope_parameters"]["beta_slow"] = 0;
  config["rope_parameters"]["beta_fast"] = 0;
  EXPECT_EQ(rope_of(config).inverse_freq, plain);
  config["rope_parameters"]["beta_slow"] = 16;
  EXPECT_NE(rope_of(config).inverse_freq, plain);
}

TEST(Rope, YarnAttentionFactorGivenOrByMscale) {
  json config = small_config(16);
  config["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 40}, {"attention_factor", 0.5}};
  EXPECT_EQ(rope_of(config).attention_factor, 0.5f);
  config["rope_parameters"] = {
      {"rope_type", "yarn"}, {"factor", 40}, {"mscale", 0.707}, {"mscale_all_dim", 1.0}};
  EXPECT_NEAR(rope_of(config).attention_factor, 0.9210423553, 1e-6);
}

TEST(Rope, Llama3KeepsHighAndScalesLowFrequencies) {
  for (const json& config : both_spellings(16, 5e5,
                                           {{"rope_type", "llama3"},
                                            {"factor", 8.0},
                                            {"low_freq_factor", 1.0},
                                            {"high_freq_factor", 4.0},
                                            {"original_max_position_embeddings", 8192}})) {
    expect_frequencies(rope_of(config),
                       {1, 0.193922745, 0.0376060309, 0.00729266474, 0.000524846161, 3.4281022e-05,
                        6.64786987e-06, 1.28917317e-06});
    EXPECT_EQ(rope_of(config).attention_factor, 1.0f);
  }
}

TEST(Rope, WholeHeadsAreRotatedWhateverPartialRotaryFactorSays) {
  json config = small_config(16);
  const std::vector<float> whole = rope_of(config).inverse_freq;
  for (const char* place : {"top", "object"}) {
    json partial = config;
    (std::string(place) == "top" ? partial : partial["rope_parameters"])["partial_rotary_factor"] =
        0.5;
    EXPECT_EQ(rope_of(partial).inverse_freq, whole);
    EXPECT_THAT(spec_of(partial).notes,
                testing::ElementsAre(HasSubstr("partial_rotary_factor\" is 0.5, but")));
    partial["rope_scaling"] = {
        {"rope_type", "linear"}, {"factor", 2}, {"partial_rotary_factor", 0.5}};
    EXPECT_THAT(error_of(partial), HasSubstr("rotate whole heads"));
  }
}

TEST(Rope, DynamicIsPlainUpToTheTrainedLengthAndNoFurther) {
  for (const json& config : both_spellings(8, 10000, {{"rope_type", "dynamic"}, {"factor", 2.0}})) {
    expect_frequencies(rope_of(config), {1, 0.1, 0.01, 0.001});
    EXPECT_EQ(spec_of(config).max_positions, 16384);
    EXPECT_THAT(spec_of(config).window_source, HasSubstr("rope type dynamic"));
  }
}

// 1 / (short_factor * theta^(2i/dim)), sqrt(1 + ln(factor) / ln(original)).
TEST(Rope, LongropeHasItsShortFactorsUpToTheOriginalLength) {
  for (const json& config : both_spellings(8, 10000,
                                           {{"rope_type", "longrope"},
                                            {"short_factor", {1, 2, 4, 5}},
                                            {"long_factor", {1, 10, 20, 30}},
                                            {"original_max_position_embeddings", 4096}})) {
    expect_frequencies(rope_of(config), {1, 0.05, 0.0025, 0.0002});
    EXPECT_NEAR(rope_of(config).attention_factor, 1.080123450, 1e-6);  // factor 16384 / 4096
    EXPECT_EQ(spec_of(config).max_positions, 4096);
  }
}

TEST(Rope, TheWindowFollowsTheScaling) {
  const auto window = [](const json& scaling) {
    json config = small_config(16);
    config["max_position_embeddings"] = 1280;
    config["rope_scaling"] = scaling;
    return spec_of(config).max_positions;
  };
  EXPECT_EQ(window(nullptr), 1280);
  EXPECT_EQ(
      window({{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 1024}}),
      4096);
  EXPECT_EQ(window({{"rope_type", "yarn"}, {"factor", 2.5}}), 3200);
  EXPECT_EQ(window({{"type", "linear"}, {"factor", 2}}), 2560);
  EXPECT_EQ(window({{"rope_type", "llama3"},
                    {"factor", 8},
                    {"low_freq_factor", 1},
                    {"high_freq_factor", 4},
                    {"original_max_position_embeddings", 512}}),
            1280);
  json huge = small_config(16);
  huge["max_position_embeddings"] = INT32_MAX;
  huge["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2}};
  EXPECT_THAT(error_of(huge), HasSubstr("expected at most 2147483647 tokens"));
}

TEST(Rope, OriginalLengthBesideTheObjectWins) {
  const json scaling = {
      {"rope_type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 4096}};
  for (const char* spelling : {"rope_scaling", "rope_parameters"}) {
    json config = small_config(16);
    config[spelling] = scaling;
    const std::vector<float> inner = rope_of(config).inverse_freq;
    config[spelling]["original_max_position_embeddings"] = 512;
    const std::vector<float> other = rope_of(config).inverse_freq;
    EXPECT_NE(inner, other);
    config["original_max_position_embeddings"] = 4096;
    EXPECT_EQ(rope_of(config).inverse_freq, inner);
    EXPECT_EQ(spec_of(config).max_positions, 16384);
    config[spelling].erase("original_max_position_embeddings");
    EXPECT_EQ(rope_of(config).inverse_freq, inner);
    config["original_max_position_embeddings"] = nullptr;
    EXPECT_THAT(error_of(config), HasSubstr("original_max_position_embeddings\" is missing"));
    config[spelling]["rope_type"] = "linear";  // which has no use for it
    EXPECT_THAT(rope_of(config).inverse_freq.front(), testing::FloatEq(0.25f));
  }
}

TEST(Rope, RopeScalingBesideRopeParametersReplacesItWhole) {
  json config = small_config(16);
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500.0}};
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 100.0}};
  EXPECT_EQ(rope_of(config).theta, 100.0);
  EXPECT_EQ(rope_of(config).inverse_freq.front(), 0.5f);
  EXPECT_THAT(spec_of(config).notes, testing::ElementsAre(HasSubstr("replaces it whole")));
  config["rope_scaling"].erase("rope_theta");
  EXPECT_THAT(error_of(config), HasSubstr("its rope_theta of 500.0 would be lost"));
  config["rope_theta"] = 300.0;
  EXPECT_EQ(rope_of(config).theta, 300.0);
  config["rope_scaling"] = json::object();  // says nothing
  EXPECT_EQ(rope_of(config).theta, 500.0);
  config["rope_scaling"] = config["rope_parameters"];
  EXPECT_EQ(rope_of(config).theta, 500.0);
  EXPECT_THAT(spec_of(config).notes, testing::IsEmpty());
}

TEST(Rope, ThetaOfTheObjectWinsAndMixtralHasItsOwnDefault) {
  json config = small_config(8);
  config["rope_theta"] = 5.0;
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 123.0}};
  EXPECT_EQ(rope_of(config).theta, 123.0);
  config.erase("rope_parameters");
  EXPECT_EQ(rope_of(config).theta, 5.0);
  config.erase("rope_theta");
  EXPECT_EQ(rope_of(config).theta, 10000.0);
  config["model_type"] = "mixtral";
  config["num_key_value_heads"] = 2;
  EXPECT_EQ(rope_of(config).theta, 1e6);
}

TEST(Rope, UnsupportedOrImpossibleScalingIsASentence) {
  const auto message = [](const json& scaling) {
    json config = small_config(16);
    config["rope_scaling"] = scaling;
    return std::string(parse_config(config.dump(), "dir/config.json").status().message());
  };
  for (const char* type : {"proportional", "axial", "mrope", "su", ""}) {
    EXPECT_THAT(message({{"rope_type", type}, {"factor", 2}}), HasSubstr("is not supported"))
        << type;
  }
  for (const char* type : {"linear", "dynamic", "yarn", "llama3"}) {
    EXPECT_THAT(message({{"type", type}}), HasSubstr("\"rope_scaling.factor\" is missing")) << type;
  }
  EXPECT_THAT(message({{"rope_type", nullptr}, {"type", "linear"}}),
              HasSubstr("rope_type\" is missing"));
  EXPECT_THAT(message({{"rope_type", "default"}, {"rope_theta", nullptr}}),
              HasSubstr("rope_theta\" is missing"));
  EXPECT_THAT(message({{"type", "longrope"}, {"short_factor", {1, 2}}, {"long_factor", {1, 2}}}),
              HasSubstr("expected a list of 8 numbers"));
  EXPECT_THAT(message({{"type", "linear"}, {"factor", 0}}),
              HasSubstr("rope_scaling.factor\" is 0"));
  EXPECT_THAT(message({{"type", "yarn"}, {"factor", "x"}}),
              HasSubstr("is \"x\", expected a number"));
  EXPECT_THAT(message({{"type", "llama3"}, {"factor", 8}}), HasSubstr("low_freq_factor"));
  EXPECT_THAT(
      message({{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}}),
      HasSubstr("above low_freq_factor"));
  EXPECT_THAT(message({{"full_attention", {{"rope_type", "default"}}}}),
              HasSubstr("differs between layer types"));
  EXPECT_THAT(message("linear"), HasSubstr("expected an object or null"));
}

TEST(Rope, OddRotarySizeIsRefused) {
  EXPECT_THAT(std::string(parse_config(small_config(7).dump(), "c").status().message()),
              HasSubstr("rotary size of a head is 7"));
}

}  // namespace
}  // namespace conclave::model
