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
        absl::StrCat(folder, ": holds neither model.safetensors nor model.safetensors.index.json"));
  }
  return checkpoint;
}

absl::Status Checkpoint::add_single(const std::string& path) {
  source_ = path;
  ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
  for (const auto& [name, entry] : file->header().tensors) items_[name] = {file.get(), &entry};
  files_.push_back(std::move(file));
  return absl::OkStatus();
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
  std::unordered_map<std::string, const SafetensorsFile*> opened;
  for (const auto& item : map->items()) {
    if (!item.value().is_string() || !is_plain_file_name(item.value().get<std::string>())) {
      return absl::InvalidArgumentError(absl::StrCat(
          index_path, ": tensor ", printable(item.key()), " is said to be in ",
          printable_json(item.value()), ", expected the name of a file in the same folder"));
    }
    const std::string shard = item.value().get<std::string>();
    if (opened.find(shard) == opened.end()) {
      auto file = SafetensorsFile::open(absl::StrCat(folder, "/", shard));
      if (!file.ok()) {
        return absl::Status(file.status().code(),
                            absl::StrCat(file.status().message(), " (named by ", index_path, ")"));
      }
      opened[shard] = file->get();
      files_.push_back(*std::move(file));
    }
    const SafetensorsFile* file = opened[shard];
    const auto entry = file->header().tensors.find(item.key());
    if (entry == file->header().tensors.end()) {
      return absl::InvalidArgumentError(absl::StrCat(file->path(), ": tensor ",
                                                     printable(item.key()), " is missing, though ",
                                                     index_path, " says that it is in this file"));
    }
    items_[item.key()] = {file, &entry->second};
  }
  return absl::OkStatus();
}

const Checkpoint::Item* Checkpoint::find(const std::string& name) const {
  const auto it = items_.find(name);
  return it == items_.end() ? nullptr : &it->second;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(items_.size());
  for (const auto& [name, item] : items_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace conclave::model
