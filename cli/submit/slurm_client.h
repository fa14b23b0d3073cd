#ifndef CONCLAVE_CLI_SUBMIT_SLURM_CLIENT_H_
#define CONCLAVE_CLI_SUBMIT_SLURM_CLIENT_H_

// Slurm's own commands, called as programs.

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::cli {

struct CommandResult {
  int exit_code = 0;   // 128 + signal if it was killed
  std::string output;  // stdout and stderr together
};
// Slurm's commands retry for a while themselves when the controller is away; this is longer.
inline constexpr std::chrono::seconds kCommandPatience{120};
// NOT_FOUND if argv[0] cannot be executed; DEADLINE_EXCEEDED, naming it, if it has not ended by
// then: it is killed.
absl::StatusOr<CommandResult> run_command(const std::vector<std::string>& argv,
                                          std::chrono::milliseconds patience = kCommandPatience);

// `sbatch --test-only SCRIPT`: what Slurm says about it. INVALID_ARGUMENT with Slurm's words if it
// would refuse.
absl::StatusOr<std::string> test_job(const std::string& script_path);
// The job's id.
absl::StatusOr<std::string> submit_job(const std::string& script_path);

struct JobState {
  std::string state;   // "PENDING", "RUNNING", …
  std::string reason;  // "None", "Resources", a node list while running
};
// Nothing once Slurm has forgotten the job. UNAVAILABLE while the controller does not answer.
absl::StatusOr<std::optional<JobState>> job_state(const std::string& job_id);
bool is_final(const std::string& state);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SUBMIT_SLURM_CLIENT_H_
