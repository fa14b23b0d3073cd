#ifndef CONCLAVE_CLI_GROUP_LAUNCHER_H_
#define CONCLAVE_CLI_GROUP_LAUNCHER_H_

// How the processes of a worker group are started on this machine, and where their traces lie.

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/group_options.h"
#include "coordinator/engine/group_launcher.h"
#include "coordinator/engine/group_transport.h"
#include "coordinator/engine/run_folder.h"

namespace conclave::cli {

// Processes: mpirun (or one worker process with threads as ranks) started by the coordinator, whose worker
// listener ranks reach at `address`. Loopback there means that all ranks are on this host: then mpirun and ranks
// keep to loopback and shared memory, and leave their files in `folder` and in a folder of the same kind in /dev/shm.
// An operator's own settings (--mpi-args, OMPI_MCA_…) win. keep_line: sees each line that ranks and launcher write; may
// be empty.
std::unique_ptr<coordinator::GroupLauncher> make_launcher(const GroupOptions& options, const std::string& address,
                                                          std::shared_ptr<coordinator::RunFolder> folder,
                                                          std::function<void(const std::string&)> keep_line = {});
// The run's folder in $TMPDIR or /tmp. INVALID_ARGUMENT names TMPDIR and what is wrong with it.
absl::StatusOr<std::shared_ptr<coordinator::RunFolder>> make_run_folder();

// What the offline commands use: threads for local, processes for mpi.
absl::StatusOr<std::unique_ptr<coordinator::GroupTransport>> make_offline_transport(const GroupOptions& options);

// The worker program beside this one (../libexec/conclave/conclave-worker), or $CONCLAVE_WORKER.
absl::StatusOr<std::string> worker_program();

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_GROUP_LAUNCHER_H_
