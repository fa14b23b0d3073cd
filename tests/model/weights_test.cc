#include "model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class GoldenModel : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModel, OpensWithEveryTensorUsed) {
  auto opened = open_model(golden_folder(GetParam()));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT(opened->weights->ignored(), IsEmpty());
  EXPECT_EQ(opened->weights->embedding().rows, opened->spec.vocab);
  EXPECT_EQ(opened->weights->lm_head().cols, opened->spec.hidden);
  EXPECT_FALSE(opened->spec.tied_embeddings);
}

TEST_P(GoldenModel, ParameterCountMatchesTheFileSize) {
  auto opened = open_model(golden_folder(GetParam()));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(static_cast<uint64_t>(opened->spec.total_parameters()) * 2,
            opened->weights->total_bytes());
  uint64_t stored = 0;
  for (const auto& [name, tensor] : EditableModel::golden(GetParam()).tensors) {
    stored += tensor.bytes.size();
  }
  EXPECT_EQ(stored, opened->weights->total_bytes());
}

TEST_P(GoldenModel, DummyHasTheSameTensorsInTheSameShapes) {
  auto opened = open_model(golden_folder(GetParam()));
  ASSERT_TRUE(opened.ok()) << opened.status();
  auto config = parse_config(file_text(golden_folder(GetParam()) + "/config.json"), "config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto dummy = Weights::dummy(*config, DType::kBF16, 7);
  EXPECT_EQ(dummy->total_bytes(), opened->weights->total_bytes());
  for (int32_t l = 0; l < config->layers; ++l) {
    const LayerTensors& real = opened->weights->layer(l);
    const LayerTensors& fake = dummy->layer(l);
    EXPECT_EQ(real.q_norm.has_value(), fake.q_norm.has_value());
    EXPECT_EQ(real.q_bias.has_value(), fake.q_bias.has_value());
    EXPECT_EQ(real.gate.has_value(), fake.gate.has_value());
    EXPECT_EQ(real.pre_gate.has_value(), fake.pre_gate.has_value());
    EXPECT_EQ(real.shared.has_value(), fake.shared.has_value());
    EXPECT_EQ(real.dense.has_value(), fake.dense.has_value());
    EXPECT_EQ(real.experts.size(), fake.experts.size());
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModel, testing::ValuesIn(golden_names()),
                         [](const auto& info) { return info.param; });

TEST(Weights, ViewsHoldTheBytesOfTheNamedTensors) {
  const EditableModel model = EditableModel::golden("mixtral");
  auto opened = open_model(golden_folder("mixtral"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const LayerTensors& layer = opened->weights->layer(1);
  const auto stored = [&](const std::string& name) {
    return model.tensors.at("model.layers.1." + name).bytes;
  };
  EXPECT_EQ(bytes_of(layer.q), stored("self_attn.q_proj.weight"));
  EXPECT_EQ(bytes_of(layer.o), stored("self_attn.o_proj.weight"));
  EXPECT_EQ(bytes_of(layer.experts[3].gate), stored("block_sparse_moe.experts.3.w1.weight"));
  EXPECT_EQ(bytes_of(layer.experts[3].up), stored("block_sparse_moe.experts.3.w3.weight"));
  EXPECT_EQ(bytes_of(layer.experts[3].down), stored("block_sparse_moe.experts.3.w2.weight"));
  EXPECT_EQ(layer.experts[3].down.rows, opened->spec.hidden);
  EXPECT_EQ(layer.experts[3].down.cols, opened->spec.expert_width);
  EXPECT_EQ(bytes_of(opened->weights->lm_head()), model.tensors.at("lm_head.weight").bytes);
}

TEST(Weights, ShardsAndOneFileGiveTheSameModel) {
  TempFolder folder;
  EditableModel::golden("qwen3_moe").write(folder);
  auto single = open_model(folder.path());
  auto shards = open_model(golden_folder("qwen3_moe"));
  ASSERT_TRUE(single.ok() && shards.ok()) << single.status() << shards.status();
  EXPECT_EQ(single->weights->fingerprint(), shards->weights->fingerprint());
  EXPECT_EQ(bytes_of(single->weights->layer(3).experts[15].down),
            bytes_of(shards->weights->layer(3).experts[15].down));
}

TEST(Weights, FingerprintTellsModelsApartAndIsStable) {
  std::set<std::string> seen;
  for (const std::string& name : golden_names()) {
    auto first = open_model(golden_folder(name));
    auto again = open_model(golden_folder(name));
    ASSERT_TRUE(first.ok() && again.ok());
    EXPECT_EQ(first->weights->fingerprint(), again->weights->fingerprint());
    EXPECT_EQ(first->weights->fingerprint().size(), 16u);
    seen.insert(first->weights->fingerprint());
  }
  EXPECT_EQ(seen.size(), golden_names().size());
}

TEST(Weights, FingerprintChangesWithOneByteOfAnEmbedding) {
  EditableModel model = EditableModel::golden("mixtral");
  TempFolder before;
  model.write(before);
  model.tensors["lm_head.weight"].bytes[0] ^= 1;
  TempFolder after;
  model.write(after);
  auto a = open_model(before.path());
  auto b = open_model(after.path());
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->weights->fingerprint(), b->weights->fingerprint());
}

TEST(Weights, ReleasedPagesReadTheSameAfterwards) {
  auto opened = open_model(golden_folder("olmoe"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::string before = bytes_of(opened->weights->embedding());
  opened->weights->release(opened->weights->embedding());
  opened->weights->release(opened->weights->layer(0).input_norm);
  EXPECT_EQ(bytes_of(opened->weights->embedding()), before);
}

TEST(Weights, DtypesOfTheFilesAreKept) {
  auto f16 = open_model(golden_folder("olmoe"));
  auto bf16 = open_model(golden_folder("mixtral"));
  ASSERT_TRUE(f16.ok() && bf16.ok());
  EXPECT_EQ(f16->weights->embedding().dtype, DType::kF16);
  EXPECT_EQ(f16->spec.weight_dtype, DType::kF16);
  EXPECT_EQ(bf16->weights->embedding().dtype, DType::kBF16);
}

TEST(Weights, PreGatesAreWhereTheRuleSaysForEveryDistance) {
  for (const int distance : {1, 2, 3, 4, 9}) {
    EditableModel model = EditableModel::golden("mixtral");
    model.config["model_type"] = "mixtral_ext";
    model.config["pre_gate"] = {{"distance", distance}};
    const int moe_layers = 3;
    for (int m = 0; m < moe_layers; ++m) {
      const std::string prefix = "model.layers." + std::to_string(m) + ".block_sparse_moe.";
      const StoredTensor gate = model.tensors.at(prefix + "gate.weight");
      if (m >= distance) model.tensors.erase(prefix + "gate.weight");
      if (m + distance < moe_layers) model.tensors[prefix + "pre_gate.weight"] = gate;
    }
    TempFolder folder;
    model.write(folder);
    auto opened = open_model(folder.path());
    ASSERT_TRUE(opened.ok()) << "distance " << distance << ": " << opened.status();
    EXPECT_THAT(opened->weights->ignored(), IsEmpty());
    for (int m = 0; m < moe_layers; ++m) {
      EXPECT_EQ(opened->weights->layer(m).gate.has_value(), m < distance);
      EXPECT_EQ(opened->weights->layer(m).pre_gate.has_value(), m + distance < moe_layers);
    }
  }
}

TEST(Weights, PreGatesCountMoeLayersOnly) {
  // qwen3_moe's layer 0 is dense, so the MoE layers are 1, 2, 3.
  auto base = parse_config(file_text(golden_folder("qwen3_moe") + "/config.json"), "c");
  ASSERT_TRUE(base.ok());
  EXPECT_THAT(base->moe_layers(), ElementsAre(1, 2, 3));
  auto config = nlohmann::json::parse(file_text(golden_folder("qwen3_moe") + "/config.json"));
  config["pre_gate"] = {{"distance", 2}};
  auto spec = parse_config(config.dump(), "c");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto own = [&](size_t l) { return spec->layer[l].has_own_gate; };
  const auto hosts = [&](size_t l) { return spec->layer[l].hosts_pre_gate; };
  EXPECT_FALSE(own(0) || hosts(0));
  EXPECT_TRUE(own(1) && hosts(1));
  EXPECT_TRUE(own(2) && !hosts(2));
  EXPECT_TRUE(!own(3) && !hosts(3));
}

TEST(DummyWeights, SeedsDifferByTensorAndBySeed) {
  auto spec = parse_config(file_text(golden_folder("mixtral") + "/config.json"), "c");
  ASSERT_TRUE(spec.ok());
  const auto one = Weights::dummy(*spec, DType::kF32, 1);
  const auto same = Weights::dummy(*spec, DType::kF32, 1);
  const auto two = Weights::dummy(*spec, DType::kF32, 2);
  EXPECT_EQ(one->embedding().data, nullptr);
  EXPECT_EQ(one->layer(0).q.dummy_seed, same->layer(0).q.dummy_seed);
  EXPECT_NE(one->layer(0).q.dummy_seed, one->layer(1).q.dummy_seed);
  EXPECT_NE(one->layer(0).q.dummy_seed, two->layer(0).q.dummy_seed);
  EXPECT_EQ(one->fingerprint(), same->fingerprint());
  EXPECT_NE(one->fingerprint(), two->fingerprint());
}

TEST(DummyWeights, ShapeFilesOfTheBenchmarksHaveTheirPublishedSizes) {
  const auto parse = [](const std::string& name) {
    const std::string path = std::string(CONCLAVE_SOURCE_DIR) + "/bench/shapes/" + name + ".json";
    return parse_shape(file_text(path), path);
  };
  auto olmoe = parse("olmoe-1b-7b");
  auto qwen = parse("qwen3-30b-a3b");
  auto mixtral = parse("mixtral-8x7b");
  ASSERT_TRUE(olmoe.ok() && qwen.ok() && mixtral.ok());
  EXPECT_EQ(olmoe->qk_norm, QkNormKind::kFullWidth);
  EXPECT_EQ(qwen->qk_norm, QkNormKind::kPerHead);
  EXPECT_EQ(mixtral->qk_norm, QkNormKind::kNone);
  EXPECT_EQ(olmoe->total_parameters(), 6919161856);
  EXPECT_EQ(qwen->total_parameters(), 30532122624);
  EXPECT_EQ(mixtral->total_parameters(), 46702792704);
  EXPECT_NEAR(static_cast<double>(olmoe->active_parameters()), 1.28e9, 0.02e9);
  EXPECT_NEAR(static_cast<double>(qwen->active_parameters()), 3.35e9, 0.05e9);
  EXPECT_NEAR(static_cast<double>(mixtral->active_parameters()), 12.88e9, 0.05e9);
  EXPECT_EQ(olmoe->expert_parameters(), 3 * 2048 * 1024);
  EXPECT_EQ(qwen->kv_bytes_per_token(ComputeType::kBF16), 2 * 48 * 4 * 128 * 2);
  EXPECT_EQ(Weights::dummy(*olmoe, DType::kBF16, 0)->total_bytes(), 2u * 6919161856u);
}

}  // namespace
}  // namespace conclave::model
