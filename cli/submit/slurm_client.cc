#include "cli/submit/slurm_client.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/deadline.h"
#include "base/status_macros.h"
#include "coordinator/engine/child_process.h"

namespace conclave::cli {
namespace {

constexpr int kPollMs = 100;

// The last line that begins with a digit: `--parsable` prints "ID" or "ID;CLUSTER", warnings may
// come before.
std::string parse_job_id(const std::string& output) {
  std::istringstream in(output);
  std::string id;
  for (std::string line; std::getline(in, line);) {
    const size_t digits = line.find_first_not_of("0123456789");
    if (digits != 0 && !line.empty() && (digits == std::string::npos || line[digits] == ';'))
      id = line.substr(0, digits);
  }
  return id;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

absl::StatusOr<CommandResult> run_sbatch(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv{"sbatch"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  absl::StatusOr<CommandResult> result = run_command(argv);
  if (absl::IsNotFound(result.status())) {
    return absl::NotFoundError(
        "sbatch is not in PATH; run this on a Slurm login node, or use --render and submit the "
        "script there");
  }
  if (result.ok() && result->exit_code != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sbatch refused the job: ", trimmed(result->output)));
  }
  return result;
}

// False when the deadline came before the end of what the descriptor gives.
bool read_until_end(int fd, Deadline deadline, std::string* output) {
  char buffer[4096];
  while (!deadline.expired()) {
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, kPollMs);
    if (ready < 0 && errno != EINTR) return true;
    if (ready <= 0) continue;
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    output->append(buffer, static_cast<size_t>(got));
  }
  return false;
}

}  // namespace

absl::StatusOr<CommandResult> run_command(const std::vector<std::string>& argv,
                                          std::chrono::milliseconds patience) {
  ASSIGN_OR_RETURN(const coordinator::ChildProcess child, coordinator::spawn_child(argv, {}));
  CommandResult result;
  const bool ended = read_until_end(child.output.get(), Deadline::after(patience), &result.output);
  if (!ended) ::kill(-child.pid, SIGKILL);
  int status = 0;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!ended) {
    return absl::DeadlineExceededError(
        absl::StrCat(argv.front(), " has not answered for ", patience.count() / 1000.0,
                     " s and was stopped; does the Slurm controller run? Its words so far: ",
                     trimmed(result.output)));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

absl::StatusOr<std::string> test_job(const std::string& script_path) {
  ASSIGN_OR_RETURN(const CommandResult result, run_sbatch({"--test-only", script_path}));
  return trimmed(result.output);
}

absl::StatusOr<std::string> submit_job(const std::string& script_path) {
  ASSIGN_OR_RETURN(const CommandResult result, run_sbatch({"--parsable", script_path}));
  const std::string id = parse_job_id(result.output);
  if (id.empty())
    return absl::InternalError(absl::StrCat("sbatch printed no job id: ", trimmed(result.output)));
  return id;
}

absl::StatusOr<std::optional<JobState>> job_state(const std::string& job_id) {
  ASSIGN_OR_RETURN(const CommandResult result, run_command({"squeue", "--noheader", "--states=all",
                                                            "--jobs=" + job_id, "--format=%T|%r"}));
  const std::string text = trimmed(result.output);
  if (result.exit_code != 0) {
    if (text.find("Invalid job id") != std::string::npos) return std::optional<JobState>();
    return absl::UnavailableError(absl::StrCat("squeue: ", text));
  }
  const size_t bar = text.find('|');
  if (bar == std::string::npos) return std::optional<JobState>();
  return std::optional<JobState>(JobState{text.substr(0, bar), text.substr(bar + 1)});
}

bool is_final(const std::string& state) {
  for (const char* open : {"PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED",
                           "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SUSPENDED", "STAGE_OUT",
                           "SIGNALING", "SPECIAL_EXIT", "STOPPED"}) {
    if (state == open) return false;
  }
  return true;
}

}  // namespace conclave::cli
