// What cannot be opened, and what the user is told.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string message_of(const absl::Status& status) {
  EXPECT_FALSE(status.ok());
  return std::string(status.message());
}

TEST(WeightsErrors, EveryMissingTensorIsNamed) {
  for (const char* golden : {"mixtral", "qwen2_moe", "olmoe", "switch_pregate"}) {
    const EditableModel complete = EditableModel::golden(golden);
    // Every eighth tensor, and the special ones: a full sweep would only repeat the same names.
    size_t index = 0;
    for (const auto& [name, tensor] : complete.tensors) {
      const bool special = name.find("experts.") == std::string::npos;
      if (!special && index++ % 8 != 0) continue;
      EditableModel model = complete;
      model.tensors.erase(name);
      EXPECT_THAT(message_of(status_of_opening(model)),
                  AllOf(HasSubstr("model.safetensors: tensor \"" + name + "\" is missing"),
                        HasSubstr("expected shape [")));
    }
  }
}

TEST(WeightsErrors, WrongShapeNamesFileTensorExpectedAndFound) {
  EditableModel model = EditableModel::golden("mixtral");
  StoredTensor& tensor = model.tensors["model.layers.1.block_sparse_moe.experts.5.w2.weight"];
  std::swap(tensor.shape[0], tensor.shape[1]);
  EXPECT_THAT(message_of(status_of_opening(model)),
              AllOf(HasSubstr("model.safetensors: tensor "
                              "\"model.layers.1.block_sparse_moe.experts.5.w2.weight\""),
                    HasSubstr("has shape [48, 64], expected [64, 48]")));
}

TEST(WeightsErrors, FlattenedMatrixIsAWrongShape) {
  EditableModel model = EditableModel::golden("mixtral");
  model.tensors["model.embed_tokens.weight"].shape = {512 * 64};
  EXPECT_THAT(message_of(status_of_opening(model)),
              HasSubstr("has shape [32768], expected [512, 64]"));
}

TEST(WeightsErrors, UnsupportedDtypeOfANeededTensorIsNamed) {
  EditableModel model = EditableModel::golden("mixtral");
  model.tensors["model.norm.weight"].dtype = "I16";
  const absl::Status status = status_of_opening(model);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(message_of(status),
              HasSubstr("\"model.norm.weight\" has dtype I16, expected F32, F16 or BF16"));
}

TEST(WeightsErrors, QkNormOfTheOtherKindIsRefused) {
  EditableModel qwen = EditableModel::golden("qwen3_moe");
  StoredTensor& norm = qwen.tensors["model.layers.0.self_attn.q_norm.weight"];
  norm.shape = {128};
  norm.bytes = std::string(256, 'q');
  EXPECT_THAT(message_of(status_of_opening(qwen)), HasSubstr("has shape [128], expected [32]"));
}

TEST(WeightsErrors, NoHeadAndNotTiedIsRefused) {
  EditableModel model = EditableModel::golden("mixtral");
  model.tensors.erase("lm_head.weight");
  EXPECT_THAT(message_of(status_of_opening(model)),
              AllOf(HasSubstr("\"lm_head.weight\" is missing"), HasSubstr("tie_word_embeddings")));
}

TEST(WeightsErrors, BiasInOneLayerOnlyIsRefused) {
  EditableModel model = EditableModel::golden("qwen2_moe");
  model.tensors.erase("model.layers.2.self_attn.v_proj.bias");
  EXPECT_THAT(message_of(status_of_opening(model)),
              HasSubstr("\"model.layers.2.self_attn.v_proj.bias\" is missing"));
}

TEST(WeightsErrors, FolderWithoutWeightsOrConfigIsASentence) {
  TempFolder folder;
  EXPECT_THAT(message_of(open_model(folder.path()).status()), HasSubstr("config.json"));
  write_text(folder.file("config.json"), file_text(golden_folder("mixtral") + "/config.json"));
  EXPECT_THAT(message_of(open_model(folder.path()).status()),
              HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
}

// A folder with qwen3_moe's shards and an index that a test edits.
class ShardedModel : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& item : std::filesystem::directory_iterator(golden_folder("qwen3_moe"))) {
      std::filesystem::copy(item.path(), folder_.path());
    }
    index_ = nlohmann::json::parse(file_text(folder_.file("model.safetensors.index.json")));
  }
  absl::Status opening() {
    write_text(folder_.file("model.safetensors.index.json"), index_.dump());
    return open_model(folder_.path()).status();
  }

  TempFolder folder_;
  nlohmann::json index_;
};

TEST_F(ShardedModel, OpensAsItIs) { EXPECT_TRUE(opening().ok()); }

TEST_F(ShardedModel, MissingShardIsNamedWithItsIndex) {
  std::filesystem::remove(folder_.file("model-00002-of-00004.safetensors"));
  const absl::Status status = opening();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message_of(status), AllOf(HasSubstr("model-00002-of-00004.safetensors"),
                                        HasSubstr("model.safetensors.index.json")));
}

TEST_F(ShardedModel, PathsOutOfTheFolderAreRefused) {
  for (const std::string& path : std::vector<std::string>{
           "../model.safetensors", "/etc/passwd", "..", ".", "",
           "a/../model-00001-of-00004.safetensors", "a\\b", std::string("a\0b", 3)}) {
    index_["weight_map"]["lm_head.weight"] = path;
    EXPECT_THAT(message_of(opening()), HasSubstr("expected the name of a file in the same folder"))
        << path;
  }
}

TEST_F(ShardedModel, TensorThatItsShardLacksIsNamed) {
  index_["weight_map"]["lm_head.weight"] = "model-00004-of-00004.safetensors";
  EXPECT_THAT(message_of(opening()),
              AllOf(HasSubstr("model-00004-of-00004.safetensors: tensor \"lm_head.weight\""),
                    HasSubstr("is missing")));
}

TEST_F(ShardedModel, AnEntryForATensorThatNobodyNeedsIsNoted) {
  index_["weight_map"]["model.layers.9.mtp.weight"] = "model-00001-of-00004.safetensors";
  write_text(folder_.file("model.safetensors.index.json"), index_.dump());
  const auto opened = open_model(folder_.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_EQ(opened->spec.notes.size(), 1u);
  EXPECT_THAT(opened->spec.notes[0], AllOf(HasSubstr("index.json: says that tensor "
                                                     "\"model.layers.9.mtp.weight\" is in"),
                                           HasSubstr("nothing needs it")));
}

TEST_F(ShardedModel, PickledShardsAreASentence) {
  index_["weight_map"]["lm_head.weight"] = "pytorch_model-00001-of-00002.bin";
  EXPECT_THAT(message_of(opening()), HasSubstr("pickled weights are not read"));
}

TEST(WeightsErrors, WeightsInAnotherFormAreNamed) {
  for (const auto& [file, words] :
       {std::pair("pytorch_model.bin.index.json", "pickled"),
        std::pair("pytorch_model.bin", "pickled"), std::pair("model.gguf", "GGUF"),
        std::pair("adapter_model.safetensors", "adapter"),
        std::pair("consolidated.safetensors", "without an index")}) {
    TempFolder folder;
    write_text(folder.file("config.json"), file_text(golden_folder("mixtral") + "/config.json"));
    write_text(folder.file(file), "x");
    EXPECT_THAT(message_of(open_model(folder.path()).status()), HasSubstr(words)) << file;
  }
}

TEST_F(ShardedModel, TensorThatTheIndexLacksIsNamed) {
  index_["weight_map"].erase("model.norm.weight");
  EXPECT_THAT(message_of(opening()),
              HasSubstr("index.json: tensor \"model.norm.weight\" is missing"));
}

TEST_F(ShardedModel, MalformedIndexIsASentence) {
  const std::string path = folder_.file("model.safetensors.index.json");
  for (const std::string& text : std::vector<std::string>{
           "", "{", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})",
           R"({"weight_map": {"a": 1}})", R"({"weight_map": {"a": "x", "a": "y"}})",
           "{\"weight_map\":" + std::string(1000, '[')}) {
    write_text(path, text);
    EXPECT_THAT(message_of(open_model(folder_.path()).status()), HasSubstr(path)) << text;
  }
}

TEST_F(ShardedModel, SingleFileIsPreferredToTheIndex) {
  write_text(folder_.file("model.safetensors"), "broken");
  EXPECT_THAT(message_of(opening()), HasSubstr("/model.safetensors: "));
}

TEST_F(ShardedModel, DamagedShardIsNamed) {
  std::filesystem::resize_file(folder_.file("model-00003-of-00004.safetensors"), 1000);
  EXPECT_THAT(message_of(opening()), HasSubstr("model-00003-of-00004.safetensors"));
}

}  // namespace
}  // namespace conclave::model
