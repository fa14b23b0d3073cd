#include "model/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/json_fields.h"

namespace conclave::model {
namespace {

constexpr size_t kMaxIndexBytes = 256u << 20;

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// A shard is a file beside its index; anything that could reach elsewhere is refused.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string("/\\\0", 3)) == std::string::npos;
}

// Weights in other forms, so that the sentence can speak of what lies there.
std::string other_weights(const std::string& folder) {
  std::error_code error;
  for (const auto& item : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = item.path().filename().string();
    const std::string kind = item.path().extension().string();
    if (kind == ".bin" || kind == ".pt" || kind == ".pth" ||
        name == "pytorch_model.bin.index.json") {
      return absl::StrCat(
          "; it holds ", printable(name),
          ": PyTorch's pickled weights are not read, save the model as safetensors");
    }
    if (kind == ".gguf") return absl::StrCat("; it holds ", printable(name), ": GGUF is not read");
    if (name == "adapter_model.safetensors") {
      return "; it holds an adapter: merge it into its base model and save that";
    }
    if (kind == ".safetensors") {
      return absl::StrCat("; it holds ", printable(name), " without an index that names it");
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::open(const std::string& folder) {
  Checkpoint checkpoint;
  const std::string single = folder + "/model.safetensors";
  const std::string index = folder + "/model.safetensors.index.json";
  if (exists(single)) {
    RETURN_IF_ERROR(checkpoint.add_single(single));
  } else if (exists(index)) {
    RETURN_IF_ERROR(checkpoint.add_shards(folder, index));
  } else {
    return absl::NotFoundError(
        absl::StrCat(folder, ": holds neither model.safetensors nor model.safetensors.index.json",
                     other_weights(folder)));
  }
  return checkpoint;
}

absl::Status Checkpoint::add_single(const std::string& path) {
  source_ = path;
  ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
  for (const auto& [name, entry] : file->header().tensors)
    items_[name] = {file.get(), &entry, name};
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::StatusOr<const SafetensorsFile*> Checkpoint::open_shard(const std::string& folder,
                                                              const std::string& index_path,
                                                              const std::string& shard) {
  if (std::filesystem::path(shard).extension() == ".bin") {
    return absl::UnimplementedError(
        absl::StrCat(index_path, ": names ", printable(shard),
                     ": PyTorch's pickled weights are not read, save the model as safetensors"));
  }
  auto file = SafetensorsFile::open(absl::StrCat(folder, "/", shard));
  if (!file.ok()) {
    return absl::Status(file.status().code(),
                        absl::StrCat(file.status().message(), " (named by ", index_path, ")"));
  }
  files_.push_back(*std::move(file));
  return files_.back().get();
}

absl::Status Checkpoint::add_shards(const std::string& folder, const std::string& index_path) {
  source_ = index_path;
  ASSIGN_OR_RETURN(const std::string text, read_file(index_path, kMaxIndexBytes));
  nlohmann::json parsed;
  RETURN_IF_ERROR(parse_json_object(text, index_path, /*max_depth=*/8, &parsed));
  const auto map = parsed.find("weight_map");
  if (map == parsed.end() || !map->is_object() || map->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        index_path, ": \"weight_map\" is missing or is no object of tensor names and files"));
  }
  std::map<std::string, const SafetensorsFile*> opened;
  for (const auto& item : map->items()) {
    if (!item.value().is_string() || !is_plain_file_name(item.value().get<std::string>())) {
      return absl::InvalidArgumentError(absl::StrCat(
          index_path, ": tensor ", printable(item.key()), " is said to be in ",
          printable_json(item.value()), ", expected the name of a file in the same folder"));
    }
    const std::string shard = item.value().get<std::string>();
    if (opened.find(shard) == opened.end()) {
      ASSIGN_OR_RETURN(opened[shard], open_shard(folder, index_path, shard));
    }
    const SafetensorsFile* file = opened[shard];
    const auto entry = file->header().tensors.find(item.key());
    if (entry == file->header().tensors.end()) {
      promised_[item.key()] = file->path();
    } else {
      items_[item.key()] = {file, &entry->second, item.key()};
    }
  }
  return absl::OkStatus();
}

const Checkpoint::Item* Checkpoint::find(const std::string& name) const {
  constexpr std::string_view kBase = "model.";
  constexpr std::string_view kMoe = ".block_sparse_moe.";
  std::vector<std::string> names = {name};
  if (const size_t at = name.find(kMoe); at != std::string::npos) {
    names.push_back(std::string(name).replace(at, kMoe.size(), ".mlp."));
  }
  for (size_t i = 0, count = names.size(); i < count; ++i) {
    const bool has_base = names[i].rfind(kBase, 0) == 0;
    names.push_back(has_base ? names[i].substr(kBase.size()) : std::string(kBase) + names[i]);
  }
  for (const std::string& candidate : names) {
    const auto it = items_.find(candidate);
    if (it != items_.end()) return &it->second;
  }
  return nullptr;
}

const std::string* Checkpoint::promised(const std::string& name) const {
  const auto it = promised_.find(name);
  return it == promised_.end() ? nullptr : &it->second;
}

std::vector<std::string> Checkpoint::broken_promises() const {
  std::vector<std::string> out;
  for (const auto& [name, path] : promised_) {
    if (find(name) != nullptr) continue;
    out.push_back(absl::StrCat(source_, ": says that tensor ", printable(name), " is in ", path,
                               ", which lacks it; nothing needs it"));
  }
  return out;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(items_.size());
  for (const auto& [name, item] : items_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace conclave::model
