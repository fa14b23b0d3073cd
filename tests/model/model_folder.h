#ifndef CONCLAVE_TESTS_MODEL_MODEL_FOLDER_H_
#define CONCLAVE_TESTS_MODEL_MODEL_FOLDER_H_

// Model folders for tests: the goldens of the tree, and copies of them that a test edits in memory
// and writes into a temporary folder.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/model_spec.h"
#include "model/safetensors.h"
#include "model/weights.h"

namespace conclave::model {

inline const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names = {"mixtral",
                                                 "qwen2_moe",
                                                 "qwen3_moe",
                                                 "olmoe",
                                                 "mixtral_ladder",
                                                 "mixtral_pregate",
                                                 "mixtral_ladder_pregate",
                                                 "switch_pregate"};
  return names;
}

inline std::string golden_folder(const std::string& name) {
  return std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/" + name;
}

inline std::string file_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  ASSERT_TRUE(out.good()) << path;
}

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "model_test_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

// A model as plain data: edit, then write.
struct EditableModel {
  nlohmann::json config;
  std::map<std::string, StoredTensor> tensors;

  static EditableModel golden(const std::string& name) {
    EditableModel model;
    const std::string folder = golden_folder(name);
    model.config = nlohmann::json::parse(file_text(folder + "/config.json"));
    for (const auto& item : std::filesystem::directory_iterator(folder)) {
      const std::string file_name = item.path().filename().string();
      if (file_name.rfind("model", 0) != 0 || item.path().extension() != ".safetensors") continue;
      auto file = SafetensorsFile::open(item.path().string());
      EXPECT_TRUE(file.ok()) << file.status();
      for (const auto& [tensor_name, entry] : (*file)->header().tensors) {
        const auto data = (*file)->data(entry);
        model.tensors[tensor_name] = {
            entry.dtype, entry.shape,
            std::string(reinterpret_cast<const char*>(data.data()), data.size())};
      }
    }
    return model;
  }

  static absl::Status write_file(const std::string& path,
                                 const std::map<std::string, StoredTensor>& tensors) {
    std::vector<TensorToWrite> out;
    for (const auto& [name, tensor] : tensors) {
      out.push_back({name, tensor.dtype, tensor.shape,
                     std::as_bytes(std::span(tensor.bytes.data(), tensor.bytes.size()))});
    }
    return write_safetensors(path, out);
  }

  void write(const TempFolder& folder) const {
    write_text(folder.file("config.json"), config.dump());
    const absl::Status status = write_file(folder.file("model.safetensors"), tensors);
    ASSERT_TRUE(status.ok()) << status;
  }
};

struct OpenedModel {
  ModelSpec spec;
  std::unique_ptr<Weights> weights;
};

inline absl::StatusOr<OpenedModel> open_model(const std::string& folder) {
  auto description = read_model_description(folder);
  if (!description.ok()) return description.status();
  OpenedModel out;
  out.spec = description->spec;
  auto weights = Weights::open(folder, &out.spec);
  if (!weights.ok()) return weights.status();
  out.weights = *std::move(weights);
  return out;
}

// Writes the model into a fresh folder and returns how opening it ended.
inline absl::Status status_of_opening(const EditableModel& model) {
  TempFolder folder;
  model.write(folder);
  return open_model(folder.path()).status();
}

inline std::string bytes_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.bytes()};
}

}  // namespace conclave::model

#endif  // CONCLAVE_TESTS_MODEL_MODEL_FOLDER_H_
