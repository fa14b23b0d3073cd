#include "model/model_folder.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/json_fields.h"

namespace conclave::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCachePrefix = "models--";

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

fs::path without_slash(fs::path path) {
  return path.has_filename() || !path.has_relative_path() ? path : path.parent_path();
}

// ORG/NAME of letters, digits, '-', '_' and '.', as the hub's ids are.
bool looks_like_hub_id(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == text.size()) return false;
  if (text.front() == '.' || text.front() == '~') return false;
  return std::all_of(text.begin(), text.end(), [&](const char& c) {
    const bool separator = &c == text.data() + slash;
    return separator || absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' ||
           c == '_' || c == '.';
  });
}

// Where Python's hub client keeps what it has fetched.
std::optional<fs::path> hub_cache() {
  const auto from = [](const char* variable) -> std::optional<fs::path> {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return fs::path(value);
  };
  if (const auto cache = from("HF_HUB_CACHE")) return cache;
  if (const auto home = from("HF_HOME")) return *home / "hub";
  if (const auto cache = from("XDG_CACHE_HOME")) return *cache / "huggingface" / "hub";
  if (const auto home = from("HOME")) return *home / ".cache" / "huggingface" / "hub";
  return std::nullopt;
}

// What people copy from a hub's page: without scheme, host, branch and revision.
std::string hub_id_in(std::string text) {
  for (const std::string_view prefix : {"https://", "http://", "hf://", "huggingface.co/"}) {
    if (text.starts_with(prefix)) text.erase(0, prefix.size());
  }
  text = text.substr(0, text.find('@'));
  return text.substr(0, text.find("/tree/"));
}

absl::Status no_such_folder(const std::string& typed, const fs::path& path) {
  const std::string given = hub_id_in(typed);
  if (!looks_like_hub_id(given)) {
    return absl::NotFoundError(absl::StrCat(path.string(),
                                            ": there is no such folder; --model takes a folder "
                                            "with config.json, weights and tokenizer"));
  }
  const size_t slash = given.find('/');
  const std::string cached = absl::StrCat(std::string(kCachePrefix), given.substr(0, slash), "--",
                                          given.substr(slash + 1));
  if (const auto cache = hub_cache(); cache && is_folder(*cache / cached)) {
    return absl::NotFoundError(absl::StrCat(given,
                                            ": there is no such folder, and --model takes folders, "
                                            "not hub ids; the hub's cache has this model: give ",
                                            (*cache / cached).string()));
  }
  return absl::NotFoundError(
      absl::StrCat(given, ": there is no such folder (", path.string(),
                   "), and --model takes folders, not hub ids; fetch the model first, for ",
                   "example with: hf download ", given, " --local-dir ", given.substr(slash + 1)));
}

absl::StatusOr<fs::path> snapshot_of(const fs::path& root) {
  const fs::path snapshots = root / "snapshots";
  if (const auto hash = read_file((root / "refs" / "main").string(), 256); hash.ok()) {
    const std::string name(absl::StripAsciiWhitespace(*hash));
    if (!name.empty() && name.find('/') == std::string::npos && is_folder(snapshots / name))
      return snapshots / name;
  }
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(snapshots, error)) {
    if (is_folder(item.path())) found.push_back(item.path());
  }
  if (found.size() == 1) return found.front();
  std::sort(found.begin(), found.end());
  return absl::NotFoundError(absl::StrCat(
      root.string(), ": is a model of the hub's cache without refs/main, and it holds ",
      found.size(), " snapshots; ",
      found.empty() ? "fetch the model again"
                    : absl::StrCat("give one of them, for example ", found.back().string())));
}

bool holds_a_model(const fs::path& folder) {
  return is_there(folder / "config.json") || is_there(folder / "tokenizer.json");
}

}  // namespace

absl::Status no_model_config(const std::string& given) {
  const fs::path folder(given);
  const std::string where = absl::StrCat(given, ": holds no config.json");
  if (is_there(folder / "adapter_config.json")) {
    return absl::NotFoundError(
        absl::StrCat(where, " but an adapter; merge it into its base model and give that folder"));
  }
  std::vector<std::string> models;
  bool empty = true;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    empty = false;
    if (item.path().extension() == ".gguf") {
      return absl::UnimplementedError(absl::StrCat(
          where, " but ", printable(item.path().filename().string()), "; GGUF files are not read"));
    }
    if (is_there(item.path() / "config.json")) models.push_back(item.path().string());
  }
  if (error)
    return absl::PermissionDeniedError(
        absl::StrCat(folder.string(), ": cannot be read: ", error.message()));
  if (!models.empty()) {
    std::sort(models.begin(), models.end());
    return absl::NotFoundError(absl::StrCat(
        where, "; it holds folders of models: give one of them, for example ", models.front()));
  }
  return absl::NotFoundError(
      absl::StrCat(where, empty ? ", it is empty" : "",
                   "; --model takes a folder with config.json, weights and tokenizer"));
}

absl::StatusOr<std::string> resolve_model_folder(const std::string& given) {
  if (given.empty())
    return absl::InvalidArgumentError(
        "--model is empty; it takes a folder with config.json, weights and tokenizer");
  std::error_code error;
  const fs::path path = without_slash(fs::absolute(given, error).lexically_normal());
  if (error)
    return absl::InvalidArgumentError(
        absl::StrCat(printable(given), ": is no path: ", error.message()));
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    // A file typed with a slash behind it, or something below a file.
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory) {
      return absl::PermissionDeniedError(
          absl::StrCat(path.string(), ": cannot be opened: ", error.message()));
    }
    return no_such_folder(given, path);
  }
  if (!fs::is_directory(status)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path.string(),
        ": is a file, but --model takes the folder that holds it: ", path.parent_path().string()));
  }
  fs::path folder = path;
  if (!holds_a_model(path)) {
    if (!is_folder(path / "snapshots")) return no_model_config(path.string());
    ASSIGN_OR_RETURN(folder, snapshot_of(path));
    if (!holds_a_model(folder)) return no_model_config(folder.string());
  }
  return folder.string();
}

std::string model_folder_name(const std::string& folder) {
  const fs::path path = without_slash(fs::path(folder).lexically_normal());
  const std::string cached = path.parent_path().parent_path().filename().string();
  if (path.parent_path().filename() != "snapshots" || cached.rfind(kCachePrefix, 0) != 0 ||
      cached.size() == kCachePrefix.size()) {
    return path.filename().string();
  }
  std::string name = cached.substr(kCachePrefix.size());
  if (const size_t dashes = name.find("--"); dashes != std::string::npos)
    name.replace(dashes, 2, "/");
  return name;
}

}  // namespace conclave::model
