// Rotary frequencies against numbers worked out by hand from the published formulas.

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

RopeSpec rope_of(const json& config) {
  auto spec = parse_config(config.dump(), "config.json");
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? spec->rope : RopeSpec{};
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

TEST(Rope, YarnWithoutTruncationAndWithoutFactor) {
  json config = small_config(16);
  config["rope_parameters"] = {{"rope_type", "yarn"},
                               {"rope_theta", 1e6},
                               {"truncate", false},
                               {"original_max_position_embeddings", 4096}};
  // factor = max_position_embeddings / original = 4
  expect_frequencies(rope_of(config), {1, 0.177827941, 0.0286136088, 0.00298673451, 0.00025,
                                       4.44569853e-05, 7.90569415e-06, 1.40585331e-06});
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

TEST(Rope, PartialRotaryFactorShrinksTheRotatedPart) {
  json config = small_config(16);
  config["partial_rotary_factor"] = 0.5;
  EXPECT_EQ(rope_of(config).rotary_dim, 8);
  expect_frequencies(rope_of(config), {1, 0.1, 0.01, 0.001});
  config["rope_parameters"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.25}};
  EXPECT_EQ(rope_of(config).rotary_dim, 4);
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
  for (const char* type : {"dynamic", "longrope", "mrope", ""}) {
    EXPECT_THAT(message({{"rope_type", type}, {"factor", 2}}), HasSubstr("is not supported"))
        << type;
  }
  EXPECT_THAT(message({{"type", "linear"}}), HasSubstr("\"rope_scaling.factor\" is missing"));
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
