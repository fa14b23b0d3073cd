#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

json golden_config(const std::string& name) {
  return json::parse(file_text(golden_folder(name) + "/config.json"));
}

absl::StatusOr<ModelSpec> parse(const json& config) {
  return parse_config(config.dump(), "dir/config.json");
}

ModelSpec parsed(const json& config) {
  auto spec = parse(config);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : ModelSpec{};
}

std::string error_of(const json& config) {
  const auto spec = parse(config);
  EXPECT_FALSE(spec.ok());
  return std::string(spec.status().message());
}

std::vector<int32_t> windows(const ModelSpec& spec) {
  std::vector<int32_t> out;
  for (const LayerSpec& layer : spec.layer) out.push_back(layer.sliding_window);
  return out;
}

void expect_same_sizes(const ModelSpec& a, const ModelSpec& b) {
  EXPECT_EQ(a.family, b.family);
  EXPECT_EQ(a.model_type, b.model_type);
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.hidden, b.hidden);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.max_positions, b.max_positions);
  EXPECT_EQ(a.norm_eps, b.norm_eps);
  EXPECT_EQ(a.qk_norm, b.qk_norm);
  EXPECT_EQ(a.qkv_bias, b.qkv_bias);
  EXPECT_EQ(a.o_bias, b.o_bias);
  EXPECT_EQ(a.clip_qkv, b.clip_qkv);
  EXPECT_EQ(a.tied_embeddings, b.tied_embeddings);
  EXPECT_EQ(a.experts, b.experts);
  EXPECT_EQ(a.top_k, b.top_k);
  EXPECT_EQ(a.normalize_top_k, b.normalize_top_k);
  EXPECT_EQ(a.expert_width, b.expert_width);
  EXPECT_EQ(a.shared_expert_width, b.shared_expert_width);
  EXPECT_EQ(a.dense_width, b.dense_width);
  EXPECT_EQ(a.ladder_residual, b.ladder_residual);
  EXPECT_EQ(a.pre_gate_distance, b.pre_gate_distance);
}

void expect_same_details(const ModelSpec& a, const ModelSpec& b) {
  EXPECT_EQ(a.rope.theta, b.rope.theta);
  EXPECT_EQ(a.rope.rotary_dim, b.rope.rotary_dim);
  EXPECT_EQ(a.rope.inverse_freq, b.rope.inverse_freq);
  EXPECT_EQ(a.rope.attention_factor, b.rope.attention_factor);
  EXPECT_EQ(a.bos_ids, b.bos_ids);
  EXPECT_EQ(a.eos_ids, b.eos_ids);
  EXPECT_EQ(a.weight_dtype, b.weight_dtype);
  ASSERT_EQ(a.layer.size(), b.layer.size());
  for (size_t l = 0; l < a.layer.size(); ++l) {
    EXPECT_EQ(a.layer[l].moe, b.layer[l].moe);
    EXPECT_EQ(a.layer[l].sliding_window, b.layer[l].sliding_window);
    EXPECT_EQ(a.layer[l].has_own_gate, b.layer[l].has_own_gate);
    EXPECT_EQ(a.layer[l].hosts_pre_gate, b.layer[l].hosts_pre_gate);
  }
}

class GoldenConfig : public testing::TestWithParam<std::string> {};

TEST_P(GoldenConfig, BothSpellingsGiveTheSameSpec) {
  const std::string folder = golden_folder(GetParam());
  auto v5 = parse_config(file_text(folder + "/config.json"), "config.json");
  auto v4 = parse_config(file_text(folder + "/config_legacy.json"), "config_legacy.json");
  ASSERT_TRUE(v5.ok()) << v5.status();
  ASSERT_TRUE(v4.ok()) << v4.status();
  expect_same_sizes(*v5, *v4);
  expect_same_details(*v5, *v4);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenConfig, testing::ValuesIn(golden_names()),
                         [](const auto& info) { return info.param; });

TEST(Config, ReadsTheGoldensAsTheirFilesSay) {
  const ModelSpec mixtral = parsed(golden_config("mixtral"));
  EXPECT_EQ(mixtral.family, Family::kMixtral);
  EXPECT_EQ(mixtral.head_dim, 24);
  EXPECT_EQ(mixtral.expert_width, 48);
  EXPECT_TRUE(mixtral.normalize_top_k);
  EXPECT_EQ(mixtral.rope.theta, 1e6);
  const ModelSpec qwen2 = parsed(golden_config("qwen2_moe"));
  EXPECT_EQ(qwen2.head_dim, 16);
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.normalize_top_k);
  EXPECT_EQ(qwen2.shared_expert_width, 64);
  EXPECT_EQ(qwen2.dense_width, 96);
  EXPECT_THAT(qwen2.moe_layers(), ElementsAre(0, 2, 3));
  const ModelSpec qwen3 = parsed(golden_config("qwen3_moe"));
  EXPECT_EQ(qwen3.experts, 16);
  EXPECT_TRUE(qwen3.normalize_top_k);
  EXPECT_EQ(qwen3.qk_norm, QkNormKind::kPerHead);
  const ModelSpec olmoe = parsed(golden_config("olmoe"));
  EXPECT_EQ(olmoe.clip_qkv, 1.25f);
  EXPECT_EQ(olmoe.qk_norm, QkNormKind::kFullWidth);
  EXPECT_EQ(olmoe.weight_dtype, DType::kF16);
  const ModelSpec both = parsed(golden_config("mixtral_ladder_pregate"));
  EXPECT_TRUE(both.ladder_residual);
  EXPECT_EQ(both.pre_gate_distance, 1);
  const ModelSpec top1 = parsed(golden_config("switch_pregate"));
  EXPECT_EQ(top1.top_k, 1);
  EXPECT_FALSE(top1.normalize_top_k);
}

TEST(Config, MissingKeysTakeTheFamilyDefaults) {
  const ModelSpec mixtral = parsed({{"model_type", "mixtral"}});
  EXPECT_EQ(mixtral.vocab, 32000);
  EXPECT_EQ(mixtral.kv_heads, 8);
  EXPECT_EQ(mixtral.head_dim, 128);
  EXPECT_EQ(mixtral.expert_width, 14336);
  EXPECT_THAT(mixtral.bos_ids, ElementsAre(1));
  EXPECT_THAT(mixtral.eos_ids, ElementsAre(2));
  const ModelSpec olmoe = parsed({{"model_type", "olmoe"}});
  EXPECT_EQ(olmoe.kv_heads, olmoe.heads);
  EXPECT_THAT(olmoe.eos_ids, ElementsAre(50279));
  const ModelSpec qwen2 = parsed({{"model_type", "qwen2_moe"}});
  EXPECT_EQ(qwen2.experts, 60);
  EXPECT_EQ(qwen2.shared_expert_width, 5632);
  EXPECT_THAT(qwen2.eos_ids, IsEmpty());
  const ModelSpec qwen3 = parsed({{"model_type", "qwen3_moe"}});
  EXPECT_EQ(qwen3.experts, 128);
  EXPECT_EQ(qwen3.head_dim, 64);
  EXPECT_FALSE(qwen3.qkv_bias);
}

TEST(Config, NullIsReadWhereTheClassTakesIt) {
  json config = golden_config("mixtral");
  for (const char* key : {"head_dim", "num_key_value_heads", "eos_token_id", "rope_scaling",
                          "layer_types", "dtype", "quantization_config", "is_causal"}) {
    config[key] = nullptr;
  }
  const ModelSpec spec = parsed(config);
  EXPECT_EQ(spec.head_dim, 16);
  EXPECT_EQ(spec.kv_heads, 4);
  EXPECT_THAT(spec.eos_ids, IsEmpty());
  EXPECT_THAT(spec.notes, IsEmpty());
  for (const auto& [family, key] :
       {std::pair("mixtral", "rms_norm_eps"), std::pair("mixtral", "vocab_size"),
        std::pair("qwen2_moe", "num_key_value_heads"), std::pair("qwen3_moe", "head_dim"),
        std::pair("qwen3_moe", "use_sliding_window"), std::pair("qwen2_moe", "qkv_bias"),
        std::pair("olmoe", "tie_word_embeddings")}) {
    json bad = golden_config(family);
    bad[key] = nullptr;
    EXPECT_THAT(error_of(bad), AllOf(HasSubstr(key), HasSubstr("is null, expected a value")));
  }
}

TEST(Config, SpellingsThatTransformersAccepts) {
  json config = golden_config("qwen2_moe");
  config["hidden_act"] = "swish";
  config["dtype"] = "torch.float16";
  config["torch_dtype"] = "float32";  // dtype wins
  config["layer_types"] = {"attention", "full_attention", "attention", "attention"};
  const ModelSpec spec = parsed(config);
  EXPECT_EQ(spec.weight_dtype, DType::kF16);
  EXPECT_THAT(windows(spec), Each(0));
  json olmoe = golden_config("olmoe");
  olmoe["clip_qkv"] = {{"__float__", "Infinity"}};
  EXPECT_EQ(parsed(olmoe).clip_qkv, 0.0f);
  olmoe["clip_qkv"] = {{"__float__", "NaN"}};
  EXPECT_THAT(error_of(olmoe), HasSubstr("\"clip_qkv\" is not a number, expected"));
  olmoe["clip_qkv"] = nullptr;
  olmoe["rms_norm_eps"] = {{"__float__", "Infinity"}};
  EXPECT_THAT(error_of(olmoe), HasSubstr("\"rms_norm_eps\" is infinite"));
}

TEST(Config, UnknownKeysAreNotedInOneSentence) {
  json config = golden_config("qwen3_moe");
  config["logit_scale"] = 2;
  config["qkv_bias"] = true;  // of qwen2_moe
  const ModelSpec spec = parsed(config);
  ASSERT_EQ(spec.notes.size(), 1u);
  EXPECT_EQ(spec.notes[0],
            "dir/config.json: \"logit_scale\", \"qkv_bias\" are no keys of this family and have no "
            "effect");
}

TEST(Config, KeysThatWouldChangeTheOutputAreRefusedUnlessTheyAskForNothing) {
  const std::vector<std::tuple<const char*, json, json>> keys = {
      {"quantization_config", nullptr, {{"bits", 4}}},
      {"is_encoder_decoder", false, true},
      {"is_causal", true, false},
      {"per_layer_config", json::object(), {{"0", {{"hidden_act", "gelu"}}}}},
      {"attention_chunk_size", nullptr, 128},
      {"transformers_weights", nullptr, "other.safetensors"},
      {"text_config", nullptr, {{"model_type", "mixtral"}}},
      {"sliding_window", nullptr, 16}};
  for (const auto& [key, neutral, asking] : keys) {
    json config = golden_config("olmoe");
    config[key] = neutral;
    EXPECT_THAT(parsed(config).notes, IsEmpty()) << key;
    config[key] = asking;
    EXPECT_THAT(error_of(config), AllOf(HasSubstr(key), HasSubstr("not supported"))) << key;
  }
}

TEST(Config, ExpertCountHasTwoNamesThatMustAgree) {
  for (const char* key : {"num_experts", "num_local_experts"}) {
    json config = golden_config("qwen3_moe");
    config.erase("num_local_experts");
    config[key] = 32;
    EXPECT_EQ(parsed(config).experts, 32) << key;
  }
  json config = golden_config("qwen3_moe");
  config["num_experts"] = 8;
  EXPECT_THAT(error_of(config), HasSubstr("expected the same number"));
  config["num_experts"] = 16;
  config["n_routed_experts"] = 16;
  EXPECT_EQ(parsed(config).experts, 16);
  config["n_routed_experts"] = 32;  // which the class does not read
  EXPECT_THAT(error_of(config), HasSubstr("expected the same number"));
  json qwen2 = golden_config("qwen2_moe");
  qwen2.erase("num_experts");
  qwen2["num_local_experts"] = 12;
  EXPECT_THAT(error_of(qwen2), HasSubstr("but this family's default is 60"));
}

TEST(Config, DefaultTopKAboveTheExpertsIsRefused) {
  EXPECT_THAT(error_of({{"model_type", "olmoe"}, {"num_experts", 4}}),
              HasSubstr("\"num_experts_per_tok\" is 8, expected at most the 4 experts"));
}

TEST(Config, ExtensionsWorkOnEveryFamilyWithAndWithoutTheSuffix) {
  for (const char* name : {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe"}) {
    for (const char* suffix : {"", "_ext"}) {
      json config = golden_config(name);
      config["model_type"] = std::string(name) + suffix;
      config["ladder_residual"] = true;
      config["pre_gate"] = {{"distance", 2}};
      const ModelSpec spec = parsed(config);
      EXPECT_EQ(spec.model_type, std::string(name) + suffix);
      EXPECT_EQ(spec.family, parsed(golden_config(name)).family);
      EXPECT_TRUE(spec.ladder_residual);
      EXPECT_EQ(spec.pre_gate_distance, 2);
    }
  }
}

TEST(Config, WithoutPreGateEveryMoeLayerHasItsOwnGate) {
  const ModelSpec spec = parsed(golden_config("qwen2_moe"));
  for (const LayerSpec& layer : spec.layer) {
    EXPECT_EQ(layer.has_own_gate, layer.moe);
    EXPECT_FALSE(layer.hosts_pre_gate);
  }
}

TEST(Config, PlainMixtralAlwaysRenormalisesAndTheExtensionObeys) {
  json config = golden_config("mixtral");
  config["norm_topk_prob"] = false;
  EXPECT_TRUE(parsed(config).normalize_top_k);
  EXPECT_THAT(parsed(config).notes, ElementsAre(HasSubstr("mixtral always renormalises")));
  config["model_type"] = "mixtral_ext";
  EXPECT_FALSE(parsed(config).normalize_top_k);
  config.erase("norm_topk_prob");
  EXPECT_TRUE(parsed(config).normalize_top_k);
}

TEST(Config, SparseStepAndDenseListDecideTheMoeLayers) {
  json config = golden_config("qwen2_moe");
  config["num_hidden_layers"] = 6;
  config.erase("layer_types");
  config["decoder_sparse_step"] = 2;
  config["mlp_only_layers"] = {3, 77};
  EXPECT_THAT(parsed(config).moe_layers(), ElementsAre(1, 5));
  config["mlp_only_layers"] = {1, 3, 5};
  EXPECT_THAT(error_of(config), HasSubstr("no layer with experts"));
}

TEST(SlidingWindow, MixtralAppliesItToEveryLayer) {
  json config = golden_config("mixtral");
  config["sliding_window"] = 16;
  EXPECT_THAT(windows(parsed(config)), Each(16));
  config["sliding_window"] = 0;
  EXPECT_THAT(error_of(config), HasSubstr("null means no window"));
  config["sliding_window"] = nullptr;
  EXPECT_THAT(windows(parsed(config)), Each(0));
  config.erase("sliding_window");
  EXPECT_THAT(windows(parsed(config)), Each(0));
}

TEST(SlidingWindow, Qwen2NeedsTheSwitchAndFollowsItsRules) {
  json config = golden_config("qwen2_moe");
  config["sliding_window"] = 16;
  EXPECT_THAT(windows(parsed(config)), Each(0));
  config["layer_types"] = {"sliding_attention", "full_attention", "full_attention",
                           "sliding_attention"};
  EXPECT_THAT(error_of(config), HasSubstr("but no window is in force"));
  config["use_sliding_window"] = true;
  EXPECT_THAT(windows(parsed(config)), ElementsAre(16, 0, 0, 16));
  config.erase("layer_types");
  EXPECT_THAT(windows(parsed(config)), ElementsAre(16, 0, 16, 0));
  config["max_window_layers"] = 2;
  EXPECT_THAT(windows(parsed(config)), ElementsAre(16, 0, 0, 0));
  config.erase("sliding_window");
  EXPECT_THAT(windows(parsed(config)), ElementsAre(4096, 0, 0, 0));
  config["sliding_window"] = nullptr;
  EXPECT_THAT(error_of(config), HasSubstr("but no window is in force"));
  config["max_window_layers"] = 0;
  EXPECT_THAT(windows(parsed(config)), Each(0));
}

TEST(SlidingWindow, ZeroIsWhatTransformersWritesForQwen2WithoutTheSwitch) {
  json config = golden_config("qwen2_moe");
  config["sliding_window"] = 0;
  EXPECT_THAT(windows(parsed(config)), Each(0));
  config["use_sliding_window"] = true;
  EXPECT_THAT(error_of(config), HasSubstr("is 0, which leaves a token nothing to attend to"));
}

TEST(SlidingWindow, Qwen3WithTheSwitchSlidesInEveryLayerWhateverLayerTypesSays) {
  json config = golden_config("qwen3_moe");
  config["sliding_window"] = 8;
  EXPECT_THAT(windows(parsed(config)), Each(0));
  config["use_sliding_window"] = true;
  EXPECT_THAT(windows(parsed(config)), Each(8));
  EXPECT_THAT(parsed(config).notes, IsEmpty());
  config["layer_types"] =
      json::array({"full_attention", "full_attention", "full_attention", "full_attention"});
  EXPECT_THAT(windows(parsed(config)), Each(8));
  EXPECT_THAT(parsed(config).notes,
              ElementsAre(HasSubstr("\"layer_types\" is not read by qwen3_moe")));
  config["layer_types"][1] = "sliding_attention";
  EXPECT_THAT(error_of(config), HasSubstr("mixes full_attention and sliding_attention"));
  config["layer_types"] = json::array(
      {"sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention"});
  EXPECT_THAT(windows(parsed(config)), Each(8));
  config["use_sliding_window"] = false;
  EXPECT_THAT(error_of(config), HasSubstr("but no window is in force"));
}

TEST(SlidingWindow, MalformedLayerTypesAreRefused) {
  json config = golden_config("qwen2_moe");
  config["layer_types"] = {"full_attention"};
  EXPECT_THAT(error_of(config), HasSubstr("has 1 entries, expected 4"));
  config["layer_types"] = {"full_attention", "linear_attention", "full_attention",
                           "full_attention"};
  EXPECT_THAT(error_of(config), HasSubstr("\"linear_attention\", which is not supported"));
}

struct BadConfig {
  const char* name;
  const char* key;
  json value;
  const char* expected;
};

class ImpossibleConfig : public testing::TestWithParam<BadConfig> {};

TEST_P(ImpossibleConfig, IsOneSentenceWithFileKeyExpectedAndFound) {
  const BadConfig& bad = GetParam();
  json config = golden_config("qwen2_moe");
  config[bad.key] = bad.value;
  const std::string message = error_of(config);
  EXPECT_THAT(message,
              AllOf(HasSubstr("dir/config.json: "), HasSubstr(bad.key), HasSubstr(bad.expected)));
  EXPECT_LT(message.size(), 400u);
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Each, ImpossibleConfig,
    testing::Values(
        BadConfig{"ZeroHidden", "hidden_size", 0, "is 0, expected an integer from 1"},
        BadConfig{"NegativeLayers", "num_hidden_layers", -3, "is -3, expected an integer from 1"},
        BadConfig{"HugeVocab", "vocab_size", 1e30, "expected an integer from 1"},
        BadConfig{"HugeLayers", "num_hidden_layers", 1000000000000, "expected an integer from 1"},
        BadConfig{"UnsignedOverflow", "num_experts", UINT64_MAX, "is 18446744073709551615"},
        BadConfig{"FractionalHeads", "num_attention_heads", 4.5, "is 4.5, expected an integer"},
        BadConfig{"TextHeads", "num_attention_heads", "four", "is \"four\", expected an integer"},
        BadConfig{"ZeroKvHeads", "num_key_value_heads", 0, "is 0"},
        BadConfig{"KvHeadsDoNotDivide", "num_key_value_heads", 3, "expected a divisor of"},
        BadConfig{"HeadsDoNotDivideHidden", "num_attention_heads", 6,
                  "expected a divisor of hidden_size"},
        BadConfig{"TopKOverExperts", "num_experts_per_tok", 13,
                  "is 13, expected an integer from 1 to 12"},
        BadConfig{"ZeroTopK", "num_experts_per_tok", 0, "is 0"},
        BadConfig{"ZeroExperts", "num_experts", 0, "is 0"},
        BadConfig{"ZeroStep", "decoder_sparse_step", 0, "is 0"},
        BadConfig{"ListOfText", "mlp_only_layers", {"a"}, "list of integers"},
        BadConfig{"NegativeEps", "rms_norm_eps", -1.0, "expected a number"},
        BadConfig{"TextBool", "tie_word_embeddings", "yes", "is \"yes\", expected true or false"},
        BadConfig{"NumberBool", "norm_topk_prob", 1, "expected true or false"},
        BadConfig{"Activation", "hidden_act", "gelu", "is \"gelu\", expected \"silu\""},
        BadConfig{"Quantized", "quantization_config", {{"bits", 4}}, "not supported"},
        BadConfig{"Dtype", "dtype", "float8_e4m3fn", "is not supported"},
        BadConfig{"DtypeNumber", "dtype", 16, "expected a string"},
        BadConfig{"Family", "model_type", "llama", "is \"llama\", which is not supported"},
        BadConfig{"FamilyNumber", "model_type", 3, "is 3, expected a string"},
        BadConfig{"NoFamily", "model_type", nullptr, "is missing, expected"},
        BadConfig{"BareSuffix", "model_type", "_ext", "which is not supported"},
        BadConfig{"PreGateNumber", "pre_gate", 1, "expected an object or null"},
        BadConfig{"PreGateEmpty", "pre_gate", json::object(), "distance"},
        BadConfig{"PreGateZero", "pre_gate", {{"distance", 0}}, "is 0, expected an integer from 1"},
        BadConfig{"Ladder", "ladder_residual", "on", "expected true or false"},
        BadConfig{"Eos", "eos_token_id", {{"id", 3}}, "expected a token id or a list of them"},
        BadConfig{"Theta", "rope_parameters", {{"rope_theta", -1}}, "rope_theta\" is -1"}),
    [](const auto& info) { return info.param.name; });

TEST(Config, TextThatIsNoObjectIsASentence) {
  for (const std::string& text :
       std::vector<std::string>{"", "{", "[1]", "null", "\"x\"", "{\"a\":1,\"a\":2}", "\xff",
                                std::string(100000, '['), "{\"a\":" + std::string(100000, '{')}) {
    const auto spec = parse_config(text, "dir/config.json");
    ASSERT_FALSE(spec.ok());
    EXPECT_THAT(std::string(spec.status().message()), HasSubstr("dir/config.json: "));
  }
}

}  // namespace
}  // namespace conclave::model
