#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace conclave {
namespace {

absl::Status errno_status(std::string_view action, const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(path, ": cannot ", absl::string_view(action.data(), action.size()), ": ",
                                        std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(text);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(text);
  return absl::UnavailableError(text);
}

struct FileDescriptor {
  int fd = -1;
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

absl::Status write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status("write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> read_file(const std::string& path, size_t max_bytes) {
  FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return errno_status("open", path);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return errno_status("stat", path);
  if (S_ISDIR(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, ": is a directory, expected a file"));
  std::string content;
  char chunk[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_status("read", path);
    if (n == 0) return content;
    if (content.size() + static_cast<size_t>(n) > max_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(path, ": is larger than the limit of ", max_bytes, " bytes"));
    }
    content.append(chunk, static_cast<size_t>(n));
  }
}

absl::Status check_private(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno_status("stat", path);
  const unsigned open_to_others = info.st_mode & 077u;
  if (open_to_others == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(path, ": others may read or write this secret; run: chmod 600 ", path));
}

absl::Status write_file_atomically(const std::string& path, std::string_view content, int mode) {
  const std::string temporary = absl::StrCat(path, ".tmp.", ::getpid());
  {
    FileDescriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)};
    if (file.fd < 0) return errno_status("create", temporary);
    absl::Status status = write_all(file.fd, content, temporary);
    if (status.ok() && ::fsync(file.fd) != 0 && errno != EINVAL) status = errno_status("sync", temporary);
    if (!status.ok()) {
      ::unlink(temporary.c_str());
      return status;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status status = errno_status("rename to", path);
    ::unlink(temporary.c_str());
    return status;
  }
  return absl::OkStatus();
}

}  // namespace conclave
