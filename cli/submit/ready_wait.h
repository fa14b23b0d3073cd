#ifndef CONCLAVE_CLI_SUBMIT_READY_WAIT_H_
#define CONCLAVE_CLI_SUBMIT_READY_WAIT_H_

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace conclave::cli {

// Waits until the job of that id answers /ready and is published in the service's folder; returns
// its URL and tells on stderr what the job is doing. UNAVAILABLE with the job's own reason if it
// ends before, DEADLINE_EXCEEDED after timeout.
absl::StatusOr<std::string> wait_until_ready(const std::string& service_folder,
                                             const std::string& job_id,
                                             std::chrono::seconds timeout);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SUBMIT_READY_WAIT_H_
