#include "coordinator/admin/model_folder_snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace conclave::coordinator {
namespace {

// Every file but the weights is shorter than this.
constexpr uint64_t kShortFileBytes = 64 << 20;
// Holds the header of most weight files.
constexpr uint64_t kHashedBeginning = 1 << 16;

// Files that a start reads; an editor's backup or a README may come and go.
bool is_read_at_start(std::string_view name) {
  constexpr std::array<std::string_view, 8> kNames = {
      "config.json",           "generation_config.json", "tokenizer.json",
      "tokenizer_config.json", "added_tokens.json",      "special_tokens_map.json",
      "chat_template.jinja",   "chat_template.json"};
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
         std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

int64_t nanoseconds(const timespec& time) {
  return int64_t{1000000000} * time.tv_sec + time.tv_nsec;
}

// 0 or errno; fills *hash.
int hash_beginning(int fd, uint64_t bytes, uint64_t* hash) {
  std::string content(bytes, '\0');
  size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got =
        ::pread(fd, content.data() + filled, content.size() - filled, static_cast<off_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  content.resize(filled);
  *hash = std::hash<std::string>()(content);
  return 0;
}

std::string because(const std::string& path, const char* what, int error) {
  return absl::StrCat(path, ": ", what, ": ", std::strerror(error));
}

}  // namespace

int ModelFolderSnapshot::look_at(const std::string& path, File* file) {
  // Not O_NONBLOCK alone: a named pipe in the place of a file must not hold the thread.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  struct stat info {};
  int error = ::fstat(fd, &info) == 0 ? 0 : errno;
  if (error == 0 && !S_ISREG(info.st_mode)) error = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  if (error == 0) {
    file->device = info.st_dev;
    file->inode = info.st_ino;
    file->bytes = static_cast<uint64_t>(info.st_size);
    file->modified_ns = nanoseconds(info.st_mtim);
    file->status_changed_ns = nanoseconds(info.st_ctim);
    const bool whole = file->bytes <= kShortFileBytes && !path.ends_with(".safetensors");
    error = hash_beginning(fd, whole ? file->bytes : std::min(file->bytes, kHashedBeginning),
                           &file->content_hash);
  }
  ::close(fd);
  return error;
}

ModelFolderSnapshot ModelFolderSnapshot::take(const std::string& folder) {
  ModelFolderSnapshot snapshot;
  snapshot.folder_ = folder;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    File file;
    if (is_read_at_start(name) && look_at(it->path().string(), &file) == 0) {
      snapshot.files_[name] = file;
    }
  }
  return snapshot;
}

void ModelFolderSnapshot::compare_file(const std::string& path, const File& before,
                                       ModelFolderFindings* out) const {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && info.st_dev == before.device &&
      info.st_ino == before.inode && static_cast<uint64_t>(info.st_size) == before.bytes &&
      nanoseconds(info.st_mtim) == before.modified_ns &&
      nanoseconds(info.st_ctim) == before.status_changed_ns) {
    return;  // the usual case costs one call
  }
  File now;
  if (const int error = look_at(path, &now); error != 0) {
    out->gone.push_back(error == ENOENT ? path + ": is gone"
                                        : because(path, "cannot be read", error));
  } else if (now.bytes != before.bytes) {
    out->changed.push_back(absl::StrCat(path, ": has ", now.bytes, " bytes, had ", before.bytes,
                                        " when it was loaded"));
  } else if (now.content_hash != before.content_hash) {
    out->changed.push_back(path + ": has other content than when it was loaded");
  } else if (path.ends_with(".safetensors") && now.modified_ns != before.modified_ns) {
    // Only its beginning was compared: nobody reads all weights again to answer a question.
    out->changed.push_back(path + ": was written again after it was loaded");
  }
}

ModelFolderFindings ModelFolderSnapshot::compare() const {
  ModelFolderFindings out;
  struct stat info {};
  const int error = ::stat(folder_.c_str(), &info) == 0 ? 0 : errno;
  if (error == ENOENT || error == ENOTDIR) out.gone.push_back(folder_ + ": the folder is gone");
  if (error == 0 && !S_ISDIR(info.st_mode)) out.gone.push_back(folder_ + ": is no folder any more");
  if (error == 0 && S_ISDIR(info.st_mode) && ::access(folder_.c_str(), R_OK | X_OK) != 0) {
    out.gone.push_back(because(folder_, "the folder cannot be read", errno));
  }
  if (out.gone.empty() && error != 0) {
    out.gone.push_back(because(folder_, "the folder cannot be read", error));
  }
  if (!out.gone.empty()) return out;  // a line for each file says no more
  for (const auto& [name, file] : files_) {
    compare_file(absl::StrCat(folder_, "/", name), file, &out);
  }
  return out;
}

}  // namespace conclave::coordinator
