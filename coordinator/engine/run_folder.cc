#include "coordinator/engine/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "conclave-run-";
constexpr int kTries = 8;

// The folder itself is locked for as long as its owner lives: the kernel drops the lock however
// that ends, and programs that clean up /tmp by age leave a locked folder alone.
int open_folder(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// The lock of a folder whose owner is dead, to be closed; -1 if the owner lives or is somebody
// else.
int lock_of_dead_owner(const std::string& path) {
  const int fd = open_folder(path);
  struct stat info {};
  if (fd >= 0 && ::fstat(fd, &info) == 0 && info.st_uid == ::geteuid() &&
      ::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return fd;
  }
  if (fd >= 0) ::close(fd);
  return -1;
}

void sweep(const std::string& base) {
  std::error_code error;
  for (fs::directory_iterator it(base, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (it->path().filename().string().rfind(kPrefix, 0) != 0) continue;
    const int lock = lock_of_dead_owner(path);
    if (lock < 0) continue;
    std::error_code failed;
    fs::remove_all(path, failed);
    ::close(lock);  // not before: the folder may be one that is just being made
    log_info(failed ? "cannot remove what a dead run left" : "removed what a dead run left",
             {{"folder", path}});
  }
}

absl::Status cannot_make(const std::string& base, int error) {
  return absl::InvalidArgumentError(absl::StrCat("cannot make a folder in ", base, ": ",
                                                 std::strerror(error),
                                                 "; set TMPDIR to a folder that you may write to"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<RunFolder>> RunFolder::create(const std::string& base) {
  sweep(base);
  for (int i = 0; i < kTries; ++i) {
    std::string path = absl::StrCat(base, "/", kPrefix, "XXXXXX");
    if (::mkdtemp(path.data()) == nullptr) return cannot_make(base, errno);  // mode 0700
    const int fd = open_folder(path);
    // Another run that sweeps may have come in between: then the folder is locked, or gone. A file
    // system without locks gives a folder that nobody will sweep.
    const bool taken = fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0 && !taken && fs::exists(path))
      return std::shared_ptr<RunFolder>(new RunFolder(std::move(path), fd));
    if (fd >= 0) ::close(fd);
  }
  return cannot_make(base, EBUSY);
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  ::close(lock_fd_);
}

absl::StatusOr<std::string> RunFolder::fresh(const std::string& name) {
  const std::string path = path_ + "/" + name;
  std::error_code ignored;
  fs::remove_all(path, ignored);
  if (::mkdir(path.c_str(), 0700) != 0) return cannot_make(path_, errno);
  return path;
}

absl::StatusOr<std::string> temporary_base() {
  const char* set = std::getenv("TMPDIR");
  const std::string base = set == nullptr || *set == '\0' ? "/tmp" : set;
  const std::string who =
      set == nullptr || *set == '\0' ? "/tmp" : absl::StrCat("TMPDIR is \"", base, "\", which");
  struct stat info {};
  const char* wrong = nullptr;
  if (::stat(base.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    wrong = " is no folder";
  } else if (::access(base.c_str(), W_OK | X_OK) != 0) {
    wrong = " is a folder that this user may not write to";
  }
  if (wrong == nullptr) return fs::absolute(base).lexically_normal().string();
  return absl::InvalidArgumentError(
      absl::StrCat(who, wrong, "; set TMPDIR to a folder that you may write to, on a local disk",
                   set == nullptr ? "" : ", or unset it (then /tmp is used)"));
}

}  // namespace conclave::coordinator
