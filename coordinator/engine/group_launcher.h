#ifndef CONCLAVE_COORDINATOR_ENGINE_GROUP_LAUNCHER_H_
#define CONCLAVE_COORDINATOR_ENGINE_GROUP_LAUNCHER_H_

// Starting and ending the processes of a worker group (mpirun, srun, or one worker).

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/engine/launcher_words.h"

namespace conclave::coordinator {

// What a launched worker must be told. The secret itself is in the file and nowhere else.
struct LaunchSpec {
  std::string coordinator_address;
  uint16_t coordinator_port = 0;
  std::string secret_file;  // mode 0600
  uint32_t group = 0;
  int32_t ranks = 1;
};

class GroupLauncher {
 public:
  virtual ~GroupLauncher() = default;
  // FAILED_PRECONDITION while the processes of an earlier start() are not gone.
  virtual absl::Status start(const LaunchSpec& spec) = 0;
  // Asks everything that was started to end, kills it after a grace. Returns at once.
  virtual void kill() = 0;
  // How it ended ("exited with status 1"), once all is gone; nothing while it runs.
  virtual std::optional<std::string> poll_exit() = 0;
  virtual void adopt_local_process(int64_t pid) {}
  // Of the last start: which rank's process ended first and how, if the program has said so; and the
  // last lines that it wrote, as one.
  virtual std::optional<RankEnd> rank_end() { return std::nullopt; }
  virtual std::string last_words() { return ""; }
};

// Forks and executes one program in a session of its own. Its stderr lines come out on ours. It
// cannot outlive this process: the kernel kills it (PR_SET_PDEATHSIG) even when we are killed with
// SIGKILL.
struct ProcessLauncherOptions {
  std::function<std::vector<std::string>(const LaunchSpec&)>
      command;                                      // argv; argv[0] is looked up in PATH
  std::vector<std::string> environment;             // "NAME=value", added to ours
  std::chrono::milliseconds grace{3000};            // from SIGTERM to SIGKILL
  std::function<void(std::string)> on_stderr_line;  // empty: to our stderr
  std::function<void(const std::string&)> keep_line;  // sees each line as well; may be empty
  std::string cannot_execute_advice;  // what to do when argv[0] is missing or no program
};
std::unique_ptr<GroupLauncher> make_process_launcher(ProcessLauncherOptions options);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_GROUP_LAUNCHER_H_
