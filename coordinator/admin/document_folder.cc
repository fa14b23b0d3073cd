#include "coordinator/admin/document_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestName = 100;

bool is_name_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '_' || c == '.';
}

absl::Status check_name(const std::string& name) {
  const bool valid = !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
                     std::all_of(name.begin(), name.end(), is_name_character);
  if (valid) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "a document's name has 1 to 100 letters, digits, '-', '_' and '.', does not begin with '.', "
      "and "
      "is no path: it lies in the coordinator's own folder (--state-dir)");
}

absl::Status no_folder(const std::string& path, const std::string& why) {
  return absl::FailedPreconditionError(
      absl::StrCat(path, ": cannot keep documents there: ", why, "; choose another --state-dir"));
}

// Parents as everybody's umask says; the folder itself is this user's alone.
absl::Status make_folder(const std::string& path) {
  std::error_code error;
  const fs::path parent = fs::path(path).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  if (error) return no_folder(path, error.message());
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return no_folder(path, std::strerror(errno));
}

}  // namespace

std::string DocumentFolder::path_below(const std::string& state_folder) {
  std::string base = state_folder;
  if (base.empty()) {
    const char* state = std::getenv("XDG_STATE_HOME");
    const char* home = std::getenv("HOME");
    if (state != nullptr && state[0] == '/') {
      base = absl::StrCat(state, "/conclave");
    } else if (home != nullptr && home[0] == '/') {
      base = absl::StrCat(home, "/.local/state/conclave");
    }
  }
  return base.empty() ? "" : absl::StrCat(base, "/documents");
}

absl::Status DocumentFolder::prepare() const {
  if (path_.empty()) {
    return absl::FailedPreconditionError(
        "the coordinator has no folder for documents (no HOME); start it with --state-dir");
  }
  RETURN_IF_ERROR(make_folder(path_));
  struct stat info {
  }, above{};
  const std::string parent = absl::StrCat(path_, "/..");
  if (::lstat(path_.c_str(), &info) != 0) return no_folder(path_, std::strerror(errno));
  if (!S_ISDIR(info.st_mode)) return no_folder(path_, "it is no folder");
  if (info.st_uid != ::geteuid()) return no_folder(path_, "it is another user's");
  if ((info.st_mode & 022u) != 0) return no_folder(path_, "others may write to it (chmod 700 it)");
  if (::stat(parent.c_str(), &above) != 0) return no_folder(path_, std::strerror(errno));
  if ((above.st_mode & 002u) != 0 && (above.st_mode & S_ISVTX) == 0)
    return no_folder(path_, "others may write to the folder it lies in (chmod o-w it)");
  return absl::OkStatus();
}

absl::StatusOr<std::string> DocumentFolder::save(
    const std::string& name, const std::function<absl::Status(const std::string&)>& write) const {
  RETURN_IF_ERROR(check_name(name));
  RETURN_IF_ERROR(prepare());
  // The ending stays last: writers look at it.
  const std::string temporary =
      absl::StrCat(path_, "/.", ::getpid(), ".", saved_.fetch_add(1), ".", name);
  const std::string path = absl::StrCat(path_, "/", name);
  absl::Status status = write(temporary);
  if (status.ok() && ::chmod(temporary.c_str(), 0600) != 0)
    status = no_folder(path, std::strerror(errno));
  // A link of that name is replaced, not followed.
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0)
    status = no_folder(path, std::strerror(errno));
  if (status.ok()) return path;
  ::unlink(temporary.c_str());
  return status;
}

absl::StatusOr<std::string> DocumentFolder::find(const std::string& name) const {
  RETURN_IF_ERROR(check_name(name));
  RETURN_IF_ERROR(prepare());
  std::string path = absl::StrCat(path_, "/", name);
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return absl::NotFoundError(absl::StrCat(path, ": there is no such document"));
  return path;
}

}  // namespace conclave::coordinator
