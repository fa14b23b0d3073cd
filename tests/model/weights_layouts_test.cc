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

// Biases of all four projections of olmoe's golden.
void add_biases(EditableModel* model) {
  for (int l = 0; l < 3; ++l) {
    const std::string self = "model.layers." + std::to_string(l) + ".self_attn.";
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      const int64_t n = model->tensors.at(self + part + ".weight").shape[0];
      model->tensors[self + part + ".bias"] = {
          "F16", {n}, std::string(static_cast<size_t>(2 * n), 'b')};
    }
  }
}

TEST(OptionalTensors, BiasesAreDecidedByTheConfig) {
  EditableModel model = EditableModel::golden("olmoe");
  add_biases(&model);
  TempFolder without;
  model.write(without);
  auto dropped = open_model(without.path());
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_FALSE(dropped->spec.qkv_bias || dropped->spec.o_bias);
  EXPECT_FALSE(dropped->weights->layer(0).q_bias.has_value());
  EXPECT_EQ(dropped->weights->ignored().size(), 12u);

  model.config["attention_bias"] = true;
  TempFolder with;
  model.write(with);
  auto used = open_model(with.path());
  ASSERT_TRUE(used.ok()) << used.status();
  EXPECT_EQ(used->weights->layer(1).k_bias->cols, 32);
  EXPECT_EQ(used->weights->layer(1).o_bias->cols, 64);
  EXPECT_THAT(used->weights->ignored(), IsEmpty());
}

TEST(OptionalTensors, Qwen2DropsBiasesThatItsConfigExcludes) {
  EditableModel model = EditableModel::golden("qwen2_moe");
  model.config["qkv_bias"] = false;
  TempFolder folder;
  model.write(folder);
  auto opened = open_model(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_FALSE(opened->weights->layer(0).v_bias.has_value());
  EXPECT_EQ(opened->weights->ignored().size(), 12u);  // 4 layers of q, k, v
}

TEST(OptionalTensors, BiasesThatTheConfigAsksForMustBeThere) {
  EditableModel model = EditableModel::golden("olmoe");
  model.config["attention_bias"] = true;
  EXPECT_THAT(std::string(status_of_opening(model).message()),
              testing::HasSubstr("\"model.layers.0.self_attn.q_proj.bias\" is missing"));
}

TEST(OptionalTensors, QkNormsOfAFamilyWithoutAreUsedByItsExtensionAlone) {
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
    TempFolder plain;
    model.write(plain);
    auto dropped = open_model(plain.path());
    ASSERT_TRUE(dropped.ok()) << dropped.status();
    EXPECT_EQ(dropped->spec.qk_norm, QkNormKind::kNone);
    EXPECT_EQ(dropped->weights->ignored().size(), 6u);
    model.config["model_type"] = "mixtral_ext";
    TempFolder extended;
    model.write(extended);
    auto used = open_model(extended.path());
    ASSERT_TRUE(used.ok()) << used.status();
    EXPECT_EQ(used->spec.qk_norm, kind);
    EXPECT_EQ(used->weights->layer(2).k_norm->cols, k);
  }
}

TEST(OptionalTensors, ASharedExpertThatTheFileLacksIsMissing) {
  EditableModel model = EditableModel::golden("qwen2_moe");
  for (auto it = model.tensors.begin(); it != model.tensors.end();) {
    it = it->first.find("shared_expert") != std::string::npos ? model.tensors.erase(it) : ++it;
  }
  EXPECT_THAT(std::string(status_of_opening(model).message()),
              testing::HasSubstr("shared_expert.gate_proj.weight\" is missing"));
  model.config["shared_expert_intermediate_size"] = 0;
  EXPECT_TRUE(status_of_opening(model).ok());
}

// All tensors under the names that change(name) gives; one that becomes empty is left out.
EditableModel renamed(const std::string& golden,
                      const std::function<std::string(const std::string&)>& change) {
  EditableModel model = EditableModel::golden(golden);
  std::map<std::string, StoredTensor> out;
  for (auto& [name, tensor] : model.tensors) {
    const std::string now = change(name);
    if (!now.empty()) out[now] = std::move(tensor);
  }
  model.tensors = std::move(out);
  return model;
}

void expect_same_weights(const EditableModel& model, const std::string& golden) {
  TempFolder folder;
  model.write(folder);
  auto a = open_model(folder.path());
  auto b = open_model(golden_folder(golden));
  ASSERT_TRUE(a.ok()) << a.status();
  EXPECT_THAT(a->weights->ignored(), IsEmpty());
  EXPECT_EQ(bytes_of(a->weights->embedding()), bytes_of(b->weights->embedding()));
  EXPECT_EQ(bytes_of(a->weights->layer(2).experts[3].down),
            bytes_of(b->weights->layer(2).experts[3].down));
  EXPECT_EQ(a->weights->fingerprint(), b->weights->fingerprint());
}

TEST(TensorNames, AFolderSavedFromTheBaseClassLacksTheirPrefix) {
  const auto without = [](const std::string& name) {
    return name.rfind("model.", 0) == 0 ? name.substr(6) : name;
  };
  for (const char* golden : {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe"}) {
    expect_same_weights(renamed(golden, without), golden);
  }
  // The base class has no head: only a tied one can do without.
  EditableModel headless = renamed("olmoe", [&](const std::string& name) {
    return name == "lm_head.weight" ? "" : without(name);
  });
  EXPECT_THAT(std::string(status_of_opening(headless).message()),
              testing::HasSubstr("\"lm_head.weight\" is missing"));
  headless.config["tie_word_embeddings"] = true;
  EXPECT_TRUE(status_of_opening(headless).ok());
}

TEST(TensorNames, MixtralMayCallItsBlockMlp) {
  expect_same_weights(renamed("mixtral",
                              [](std::string name) {
                                const size_t at = name.find("block_sparse_moe");
                                return at == std::string::npos ? name : name.replace(at, 16, "mlp");
                              }),
                      "mixtral");
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
