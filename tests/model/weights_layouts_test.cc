// The same model stored in other ways: fused experts, other dtypes, tied heads, optional tensors.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Rewrites the per-expert tensors of every layer as the two fused ones, which in mixtral also moves
// the router to the prefix "mlp.".
void fuse_experts(EditableModel* model, int layers, int experts, bool mixtral) {
  const std::vector<std::string> names =
      mixtral ? std::vector<std::string>{"w1", "w3", "w2"}
              : std::vector<std::string>{"gate_proj", "up_proj", "down_proj"};
  for (int l = 0; l < layers; ++l) {
    const std::string layer = "model.layers." + std::to_string(l) + ".";
    const std::string classic = layer + (mixtral ? "block_sparse_moe." : "mlp.");
    if (model->tensors.count(classic + "experts.0." + names[0] + ".weight") == 0) continue;
    StoredTensor gate_up;
    StoredTensor down;
    for (int e = 0; e < experts; ++e) {
      const auto take = [&](const std::string& name) {
        const std::string key = classic + "experts." + std::to_string(e) + "." + name + ".weight";
        StoredTensor tensor = model->tensors.at(key);
        model->tensors.erase(key);
        return tensor;
      };
      const StoredTensor gate = take(names[0]);
      const StoredTensor up = take(names[1]);
      const StoredTensor one_down = take(names[2]);
      gate_up.dtype = down.dtype = gate.dtype;
      gate_up.shape = {experts, 2 * gate.shape[0], gate.shape[1]};
      down.shape = {experts, one_down.shape[0], one_down.shape[1]};
      gate_up.bytes += gate.bytes + up.bytes;
      down.bytes += one_down.bytes;
    }
    model->tensors[layer + "mlp.experts.gate_up_proj"] = gate_up;
    model->tensors[layer + "mlp.experts.down_proj"] = down;
    for (const char* gate : {"gate.weight", "pre_gate.weight"}) {
      const auto it = model->tensors.find(classic + gate);
      if (!mixtral || it == model->tensors.end()) continue;
      model->tensors[layer + "mlp." + gate] = it->second;
      model->tensors.erase(classic + gate);
    }
  }
}

struct FusedCase {
  std::string name;
  int layers;
  int experts;
};

class FusedExperts : public testing::TestWithParam<FusedCase> {};

TEST_P(FusedExperts, GiveTheSameTensorsAsPerExpertNames) {
  const FusedCase& fused_case = GetParam();
  EditableModel model = EditableModel::golden(fused_case.name);
  fuse_experts(&model, fused_case.layers, fused_case.experts,
               fused_case.name.rfind("mixtral", 0) == 0);
  TempFolder folder;
  model.write(folder);
  auto fused = open_model(folder.path());
  auto classic = open_model(golden_folder(fused_case.name));
  ASSERT_TRUE(fused.ok()) << fused.status();
  ASSERT_TRUE(classic.ok()) << classic.status();
  EXPECT_THAT(fused->weights->ignored(), IsEmpty());
  EXPECT_EQ(fused->weights->total_bytes(), classic->weights->total_bytes());
  for (int32_t l = 0; l < fused_case.layers; ++l) {
    const LayerTensors& a = fused->weights->layer(l);
    const LayerTensors& b = classic->weights->layer(l);
    ASSERT_EQ(a.experts.size(), b.experts.size());
    for (size_t e = 0; e < a.experts.size(); ++e) {
      EXPECT_EQ(bytes_of(a.experts[e].gate), bytes_of(b.experts[e].gate));
      EXPECT_EQ(bytes_of(a.experts[e].up), bytes_of(b.experts[e].up));
      EXPECT_EQ(bytes_of(a.experts[e].down), bytes_of(b.experts[e].down));
      EXPECT_EQ(a.experts[e].down.rows, b.experts[e].down.rows);
      EXPECT_EQ(a.experts[e].gate.rows, b.experts[e].gate.rows);
    }
    ASSERT_EQ(a.gate.has_value(), b.gate.has_value());
    if (a.gate) {
      EXPECT_EQ(bytes_of(*a.gate), bytes_of(*b.gate));
    }
    ASSERT_EQ(a.pre_gate.has_value(), b.pre_gate.has_value());
    if (a.pre_gate) {
      EXPECT_EQ(bytes_of(*a.pre_gate), bytes_of(*b.pre_gate));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FusedExperts,
                         testing::Values(FusedCase{"mixtral", 3, 8}, FusedCase{"qwen2_moe", 4, 12},
                                         FusedCase{"qwen3_moe", 4, 16}, FusedCase{"olmoe", 3, 16},
                                         FusedCase{"mixtral_pregate", 4, 8}),
                         [](const auto& info) { return info.param.name; });

TEST(WeightDtypes, Float32AndFloat16FilesOpenWithTheirOwnDtype) {
  for (const auto& [name, dtype, width] :
       {std::tuple("F32", DType::kF32, 4), std::tuple("F16", DType::kF16, 2)}) {
    EditableModel model = EditableModel::golden("mixtral");
    for (auto& [tensor_name, tensor] : model.tensors) {
      tensor.dtype = name;
      tensor.bytes.resize(tensor.bytes.size() / 2 * static_cast<size_t>(width), '\0');
    }
    TempFolder folder;
    model.write(folder);
    auto opened = open_model(folder.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->weights->layer(2).experts[7].down.dtype, dtype);
    EXPECT_EQ(opened->spec.weight_dtype, dtype);
  }
}

TEST(WeightDtypes, TensorsOfOneFileMayDiffer) {
  EditableModel model = EditableModel::golden("mixtral");
  StoredTensor& norm = model.tensors["model.norm.weight"];
  norm.dtype = "F32";
  norm.bytes.resize(norm.bytes.size() * 2, '\0');
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->weights->final_norm().dtype, DType::kF32);
  EXPECT_EQ(opened->weights->embedding().dtype, DType::kBF16);
}

TEST(TiedEmbeddings, HeadIsTheEmbeddingAndCountedOnce) {
  EditableModel model = EditableModel::golden("mixtral");
  model.config["tie_word_embeddings"] = true;
  model.tensors.erase("lm_head.weight");
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE(opened->spec.tied_embeddings);
  EXPECT_EQ(opened->weights->lm_head().data, opened->weights->embedding().data);
  EXPECT_EQ(opened->weights->total_bytes(),
            static_cast<uint64_t>(opened->spec.total_parameters()) * 2);
}

TEST(TiedEmbeddings, AHeadInTheFileIsUsedWhateverTheConfigSays) {
  EditableModel model = EditableModel::golden("mixtral");
  model.config["tie_word_embeddings"] = true;
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_FALSE(opened->spec.tied_embeddings);
  EXPECT_NE(opened->weights->lm_head().data, opened->weights->embedding().data);
}

TEST(OptionalTensors, BiasesAreDecidedByTheFile) {
  EditableModel model = EditableModel::golden("olmoe");
  for (int l = 0; l < 3; ++l) {
    const std::string self = "model.layers." + std::to_string(l) + ".self_attn.";
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      const StoredTensor& weight = model.tensors.at(self + part + ".weight");
      const int64_t n = weight.shape[0];
      model.tensors[self + part + ".bias"] = {
          "F16", {n}, std::string(static_cast<size_t>(2 * n), 'b')};
    }
  }
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE(opened->spec.qkv_bias && opened->spec.o_bias);
  EXPECT_EQ(opened->weights->layer(1).k_bias->cols, 32);
  EXPECT_EQ(opened->weights->layer(1).o_bias->cols, 64);
}

TEST(OptionalTensors, ConfigClaimingBiasesThatTheFileLacksMeansNone) {
  EditableModel model = EditableModel::golden("olmoe");
  model.config["attention_bias"] = true;
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_FALSE(opened->spec.qkv_bias || opened->spec.o_bias);
  EXPECT_FALSE(opened->weights->layer(0).q_bias.has_value());
}

TEST(OptionalTensors, QkNormKindFollowsTheShapeWhereTheFamilyHasNone) {
  for (const auto& [q, k, kind] :
       {std::tuple(24, 24, QkNormKind::kPerHead), std::tuple(96, 48, QkNormKind::kFullWidth)}) {
    EditableModel model = EditableModel::golden("mixtral");
    for (int l = 0; l < 3; ++l) {
      const std::string self = "model.layers." + std::to_string(l) + ".self_attn.";
      model.tensors[self + "q_norm.weight"] = {
          "BF16", {q}, std::string(static_cast<size_t>(2 * q), 'q')};
      model.tensors[self + "k_norm.weight"] = {
          "BF16", {k}, std::string(static_cast<size_t>(2 * k), 'k')};
    }
    TempFolder folder;
    model.write(folder);
    auto opened = open_model(folder.path());
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->spec.qk_norm, kind);
    EXPECT_EQ(opened->weights->layer(2).k_norm->cols, k);
  }
}

TEST(OptionalTensors, NoSharedExpertInTheFileMeansNone) {
  EditableModel model = EditableModel::golden("qwen2_moe");
  for (auto it = model.tensors.begin(); it != model.tensors.end();) {
    it = it->first.find("shared_expert") != std::string::npos ? model.tensors.erase(it) : ++it;
  }
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->spec.shared_expert_width, 0);
  EXPECT_FALSE(opened->weights->layer(0).shared.has_value());
}

TEST(OptionalTensors, UnknownTensorsAreListedNotRefused) {
  EditableModel model = EditableModel::golden("mixtral");
  model.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {2}, "12345678"};
  model.tensors["model.layers.9.extra"] = {"I64", {1}, "12345678"};
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_THAT(opened->weights->ignored(),
              ElementsAre("model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.9.extra"));
}

}  // namespace
}  // namespace conclave::model
