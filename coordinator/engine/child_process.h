#ifndef CONCLAVE_COORDINATOR_ENGINE_CHILD_PROCESS_H_
#define CONCLAVE_COORDINATOR_ENGINE_CHILD_PROCESS_H_

// fork and exec of one program in a session of its own, tied to the life of the calling thread.

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// Owns a file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor() { reset(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release();
  void reset();

 private:
  int fd_;
};

struct ChildProcess {
  pid_t pid = -1;         // also its process group and session
  FileDescriptor output;  // what it writes to stdout and stderr
  FileDescriptor pidfd;   // readable once it has ended; invalid on kernels without pidfd_open
};

// stdin is /dev/null, signals are at their defaults, no other descriptor is inherited. The kernel
// sends the child SIGKILL when the calling thread ends. NOT_FOUND and the like when argv[0] cannot
// be executed.
absl::StatusOr<ChildProcess> spawn_child(const std::vector<std::string>& argv,
                                         const std::vector<std::string>& environment);

// Invalid if there is no such process or the kernel has no pidfd_open.
FileDescriptor open_pidfd(pid_t pid);
// True while the process behind the pidfd has not ended.
bool pidfd_alive(const FileDescriptor& pidfd);
void pidfd_kill(const FileDescriptor& pidfd, int signal);

// "exited with status 1", "was killed by signal 9 (Killed)".
std::string describe_wait_status(int status);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_CHILD_PROCESS_H_
