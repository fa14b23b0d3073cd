#ifndef CONCLAVE_MODEL_CHECKPOINT_H_
#define CONCLAVE_MODEL_CHECKPOINT_H_

// The weight files of a model folder, one or many, as one table of tensors by name. Internal to
// model/.

#include <map>
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
    std::string stored_name;
  };

  // model.safetensors if it exists, else the shards of model.safetensors.index.json, which must lie
  // in the folder itself. A tensor is there if the index lists it and that shard holds it.
  static absl::StatusOr<Checkpoint> open(const std::string& folder);

  // By the name of the causal model's class. Found under other names too: without "model." (saved
  // from the base class), with it where the class has none, and mixtral's "mlp." for
  // "block_sparse_moe.". nullptr: no such tensor.
  const Item* find(const std::string& name) const;
  // Where the index says that the tensor is, though that file lacks it; nullptr: it does not.
  const std::string* promised(const std::string& name) const;
  // Sentences about tensors that the index promises and no file holds.
  std::vector<std::string> broken_promises() const;
  std::vector<std::string> names() const;           // sorted
  // What an error about a tensor that is in no file should name: the file or the index.
  const std::string& source() const { return source_; }
  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const { return files_; }

 private:
  absl::Status add_single(const std::string& path);
  absl::Status add_shards(const std::string& folder, const std::string& index_path);
  absl::StatusOr<const SafetensorsFile*> open_shard(const std::string& folder,
                                                    const std::string& index_path,
                                                    const std::string& shard);

  std::string source_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::unordered_map<std::string, Item> items_;
  std::map<std::string, std::string> promised_;  // by name: path of the file that lacks it
};

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_CHECKPOINT_H_
