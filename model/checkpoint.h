#ifndef CONCLAVE_MODEL_CHECKPOINT_H_
#define CONCLAVE_MODEL_CHECKPOINT_H_

// The weight files of a model folder, one or many, as one table of tensors by name. Internal to
// model/.

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "model/safetensors.h"

namespace conclave::model {

class Checkpoint {
 public:
  struct Item {
    const SafetensorsFile* file = nullptr;
    const TensorEntry* entry = nullptr;
  };

  // model.safetensors if it exists, else the shards of model.safetensors.index.json. Shards must
  // lie in the folder itself; each tensor of the index must be in the shard that the index names.
  static absl::StatusOr<Checkpoint> open(const std::string& folder);

  const Item* find(const std::string& name) const;  // nullptr: no such tensor
  std::vector<std::string> names() const;           // sorted
  // What an error about a tensor that is in no file should name: the file or the index.
  const std::string& source() const { return source_; }
  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const { return files_; }

 private:
  absl::Status add_single(const std::string& path);
  absl::Status add_shards(const std::string& folder, const std::string& index_path);

  std::string source_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::unordered_map<std::string, Item> items_;
};

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_CHECKPOINT_H_
