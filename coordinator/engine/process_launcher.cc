#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/deadline.h"
#include "base/log.h"
#include "base/log_file.h"
#include "coordinator/engine/child_process.h"
#include "coordinator/engine/group_launcher.h"

namespace conclave::coordinator {
namespace {

using Time = SteadyClock::time_point;

constexpr int kIdlePollMs = 1000;  // nothing but the pidfd and the pipe can happen
constexpr int kEndingPollMs = 10;  // waiting for the last processes of the group
constexpr std::chrono::milliseconds kZombieTimeout{
    500};  // killed orphans that nobody reaps still look like a group
constexpr size_t kMaxLineBytes = 16384;

// One start of the group's program, from fork to the end of its last process. A thread of its own
// forks it and waits for it, because PR_SET_PDEATHSIG counts the life of the forking thread.
class Incarnation {
 public:
  Incarnation(const ProcessLauncherOptions& options, std::vector<std::string> argv)
      : options_(options), argv_(std::move(argv)) {}
  ~Incarnation() {
    kill();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status start() {
    int bell[2];
    if (::pipe2(bell, O_CLOEXEC | O_NONBLOCK) != 0)
      return absl::ErrnoToStatus(errno, "cannot make a pipe");
    bell_read_ = FileDescriptor(bell[0]);
    bell_write_ = FileDescriptor(bell[1]);
    std::promise<absl::Status> started;
    std::future<absl::Status> outcome = started.get_future();
    thread_ = std::thread([this, started = std::move(started)]() mutable {
      auto child = spawn_child(argv_, options_.environment);
      if (child.ok()) child_ = *std::move(child);
      started.set_value(child.status());
      if (child.ok()) supervise();
      const std::lock_guard lock(mutex_);
      if (!child.ok()) exit_ = std::string(child.status().message());
    });
    return outcome.get();
  }

  void kill() {
    {
      const std::lock_guard lock(mutex_);
      if (kill_) return;
      kill_ = true;
    }
    const auto ignored = ::write(bell_write_.get(), "k", 1);
    (void)ignored;
  }

  std::optional<std::string> exit() {
    const std::lock_guard lock(mutex_);
    return exit_;
  }

  std::optional<RankEnd> rank_end() {
    const std::lock_guard lock(mutex_);
    return words_.rank_end();
  }
  std::string last_words() {
    const std::lock_guard lock(mutex_);
    return words_.last_words();
  }

  void adopt(pid_t pid) {
    FileDescriptor pidfd = open_pidfd(pid);
    const std::lock_guard lock(mutex_);
    if (pidfd.valid() && !exit_) adopted_.push_back(std::move(pidfd));
  }

 private:
  bool kill_wanted() {
    const std::lock_guard lock(mutex_);
    return kill_;
  }

  void supervise() {
    bool terminating = false, killed = false;
    Time kill_at{};
    while (true) {
      wait_for_something(terminating || reaped_);
      reap();
      const bool group_alive = any_alive();
      const Time now = SteadyClock::now();
      if (reaped_ && (!group_alive || (killed && now >= kill_at + kZombieTimeout))) break;
      if (!terminating && (reaped_ || kill_wanted())) {  // a dead leader takes its group along
        terminating = true;
        kill_at = now + options_.grace;
        signal_group(SIGTERM);
      }
      if (terminating && !killed && now >= kill_at) {
        killed = true;
        signal_group(SIGKILL);
        kill_adopted();
      }
    }
    read_output();  // what is still in the pipe
    if (!line_.empty()) emit_line();
    const std::lock_guard lock(mutex_);
    adopted_.clear();
    exit_ = absl::StrCat(argv_[0], " ", describe_wait_status(wait_status_));
  }

  void wait_for_something(bool ending) {
    // A leader without a pidfd must be asked; so must the rest of a group that is ending.
    const int timeout_ms = ending || !child_.pidfd.valid() ? kEndingPollMs : kIdlePollMs;
    pollfd fds[3] = {{bell_read_.get(), POLLIN, 0},
                     {output_open_ ? child_.output.get() : -1, POLLIN, 0},
                     {reaped_ ? -1 : child_.pidfd.get(), POLLIN, 0}};
    ::poll(fds, 3, timeout_ms);
    char bell[8];
    while (::read(bell_read_.get(), bell, sizeof bell) > 0) {
    }
    if (fds[1].revents != 0) read_output();
  }

  void read_output() {
    ::fcntl(child_.output.get(), F_SETFL, O_NONBLOCK);
    char buffer[4096];
    while (output_open_) {
      const ssize_t got = ::read(child_.output.get(), buffer, sizeof buffer);
      if (got == 0) output_open_ = false;
      if (got <= 0) return;
      for (ssize_t i = 0; i < got; ++i) {
        if (buffer[i] == '\n' || line_.size() >= kMaxLineBytes) emit_line();
        if (buffer[i] != '\n') line_.push_back(buffer[i]);
      }
    }
  }

  void emit_line() {
    std::string line = std::exchange(line_, {});
    if (options_.keep_line) options_.keep_line(line);
    {
      const std::lock_guard lock(mutex_);
      words_.add(line);
    }
    if (options_.on_stderr_line) {
      options_.on_stderr_line(std::move(line));
    } else {
      write_log_line(std::move(line));
    }
  }

  void reap() {
    if (reaped_) return;
    const pid_t done = ::waitpid(child_.pid, &wait_status_, WNOHANG);
    reaped_ = done == child_.pid || (done < 0 && errno == ECHILD);
  }

  bool any_alive() {
    if (::kill(-child_.pid, 0) == 0 || errno == EPERM) return true;
    const std::lock_guard lock(mutex_);
    return std::any_of(adopted_.begin(), adopted_.end(), pidfd_alive);
  }

  void signal_group(int signal) { ::kill(-child_.pid, signal); }
  void kill_adopted() {
    const std::lock_guard lock(mutex_);
    for (const FileDescriptor& pidfd : adopted_) pidfd_kill(pidfd, SIGKILL);
  }

  const ProcessLauncherOptions& options_;
  const std::vector<std::string> argv_;
  FileDescriptor bell_read_, bell_write_;
  std::thread thread_;

  // Of the supervising thread.
  ChildProcess child_;
  bool reaped_ = false;
  bool output_open_ = true;
  int wait_status_ = 0;
  std::string line_;

  std::mutex mutex_;  // guards what follows
  bool kill_ = false;
  std::optional<std::string> exit_;
  std::vector<FileDescriptor> adopted_;
  LauncherWords words_;
};

class ProcessLauncher : public GroupLauncher {
 public:
  explicit ProcessLauncher(ProcessLauncherOptions options) : options_(std::move(options)) {}

  absl::Status start(const LaunchSpec& spec) override {
    if (incarnation_ != nullptr && !incarnation_->exit()) {
      return absl::FailedPreconditionError("the processes of the last start have not ended yet");
    }
    auto incarnation = std::make_unique<Incarnation>(options_, options_.command(spec));
    absl::Status status = incarnation->start();
    incarnation_ = std::move(incarnation);
    const bool no_program = absl::IsNotFound(status) || absl::IsPermissionDenied(status);
    if (!no_program || options_.cannot_execute_advice.empty()) return status;
    return absl::Status(status.code(),
                        absl::StrCat(std::string(status.message()), "; ", options_.cannot_execute_advice));
  }
  void kill() override {
    if (incarnation_ != nullptr) incarnation_->kill();
  }
  std::optional<std::string> poll_exit() override {
    return incarnation_ == nullptr ? std::optional<std::string>("was not started")
                                   : incarnation_->exit();
  }
  std::optional<RankEnd> rank_end() override {
    return incarnation_ == nullptr ? std::nullopt : incarnation_->rank_end();
  }
  std::string last_words() override {
    return incarnation_ == nullptr ? "" : incarnation_->last_words();
  }
  void adopt_local_process(int64_t pid) override {
    if (incarnation_ != nullptr && pid > 0) incarnation_->adopt(static_cast<pid_t>(pid));
  }

 private:
  ProcessLauncherOptions options_;
  std::unique_ptr<Incarnation> incarnation_;
};

}  // namespace

std::unique_ptr<GroupLauncher> make_process_launcher(ProcessLauncherOptions options) {
  return std::make_unique<ProcessLauncher>(std::move(options));
}

}  // namespace conclave::coordinator
