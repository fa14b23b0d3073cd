#include "coordinator/engine/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "absl/strings/str_cat.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

extern char** environ;

namespace conclave::coordinator {
namespace {

constexpr int kFirstFd = 3;
constexpr int kLastFdGuess = 65536;  // where close_range does not exist

struct ExecArguments {
  char* const* argv;
  char* const* environment;
  int output;
  int error;
  pid_t parent;
};

// Runs between fork and exec in a process whose other threads are gone: async-signal-safe calls
// only.
[[noreturn]] void become(const ExecArguments& arguments) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != arguments.parent) ::_exit(127);  // it died before prctl
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigaddset(&none, SIGHUP);  // a reload of everybody ends nobody; mpirun would end its ranks
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(arguments.output, STDOUT_FILENO);
  ::dup2(arguments.output, STDERR_FILENO);
  if (::syscall(SYS_close_range, kFirstFd, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
    for (int fd = kFirstFd; fd < kLastFdGuess; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  ::execvpe(arguments.argv[0], arguments.argv, arguments.environment);
  const int error = errno;
  const auto ignored = ::write(arguments.error, &error, sizeof error);
  ::_exit(ignored > 0 ? 127 : 126);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged_environment(const std::vector<std::string>& additions) {
  std::vector<std::string> result = additions;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const std::string& addition : additions)
      replaced = replaced || addition.rfind(name, 0) == 0;
    if (!replaced) result.push_back(text);
  }
  return result;
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int FileDescriptor::release() { return std::exchange(fd_, -1); }

void FileDescriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

absl::StatusOr<ChildProcess> spawn_child(const std::vector<std::string>& argv,
                                         const std::vector<std::string>& environment) {
  if (argv.empty()) return absl::InvalidArgumentError("no program to start");
  int output[2], error[2];
  if (::pipe2(output, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const FileDescriptor output_write(output[1]);
  ChildProcess child;
  child.output = FileDescriptor(output[0]);
  if (::pipe2(error, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const FileDescriptor error_read(error[0]);
  FileDescriptor error_write(error[1]);

  const std::vector<std::string> merged = merged_environment(environment);
  const std::vector<char*> argument_pointers = pointers(argv),
                           environment_pointers = pointers(merged);
  const ExecArguments arguments{argument_pointers.data(), environment_pointers.data(),
                                output_write.get(), error_write.get(), ::getpid()};
  child.pid = ::fork();
  if (child.pid < 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot fork to start ", argv[0]));
  if (child.pid == 0) become(arguments);
  error_write.reset();
  int exec_error = 0;
  ssize_t got = 0;
  do {
    got = ::read(error_read.get(), &exec_error, sizeof exec_error);
  } while (got < 0 && errno == EINTR);
  if (got == static_cast<ssize_t>(sizeof exec_error)) {
    ::waitpid(child.pid, nullptr, 0);
    return absl::ErrnoToStatus(exec_error, absl::StrCat("cannot execute ", argv[0]));
  }
  child.pidfd = open_pidfd(child.pid);
  return child;
}

FileDescriptor open_pidfd(pid_t pid) {
  return FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool pidfd_alive(const FileDescriptor& pidfd) {
  pollfd query{pidfd.get(), POLLIN, 0};
  return pidfd.valid() && ::poll(&query, 1, 0) == 0;
}

void pidfd_kill(const FileDescriptor& pidfd, int signal) {
  if (pidfd.valid()) ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
}

std::string describe_wait_status(int status) {
  if (WIFEXITED(status)) return absl::StrCat("exited with status ", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  return absl::StrCat("was killed by signal ", signal, " (", ::strsignal(signal), ")");
}

}  // namespace conclave::coordinator
