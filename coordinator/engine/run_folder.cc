#include "coordinator/engine/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "conclave-run-";
constexpr const char* kOwner = "owner";
// A folder without an owner's file this old was left by a process that died while it made the
// folder.
constexpr std::time_t kUnfinishedSeconds = 60;
constexpr int kTries = 8;

bool same_file(int fd, const std::string& path) {
  struct stat opened {
  }, named{};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

// The lock says that the owner lives: the kernel drops it however the owner ends.
bool owner_is_dead(const std::string& folder) {
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::geteuid())
    return false;
  const std::string owner = folder + "/" + kOwner;
  const int fd = ::open(owner.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return errno == ENOENT && std::time(nullptr) - info.st_mtime > kUnfinishedSeconds;
  const bool dead = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  ::close(fd);
  return dead;
}

void sweep(const std::string& base) {
  std::error_code error;
  for (fs::directory_iterator it(base, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (it->path().filename().string().rfind(kPrefix, 0) != 0 || !owner_is_dead(path)) continue;
    std::error_code failed;
    fs::remove_all(path, failed);
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
    const std::string owner = path + "/" + kOwner;
    const int fd = ::open(owner.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
      const int error = errno;
      ::rmdir(path.c_str());
      return cannot_make(base, error);
    }
    // Another run that sweeps may have come in between: then the file is locked, or gone. A file
    // system without locks gives a folder that nobody will sweep.
    const bool taken = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!taken && same_file(fd, owner))
      return std::shared_ptr<RunFolder>(new RunFolder(std::move(path), fd));
    ::close(fd);
  }
  return cannot_make(base, EBUSY);
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  ::close(owner_fd_);
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
