#ifndef CONCLAVE_CLI_SUBMIT_JOB_SCRIPT_H_
#define CONCLAVE_CLI_SUBMIT_JOB_SCRIPT_H_

// From options to the bytes of a batch script. Pure: equal options give equal bytes.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/submit/job_options.h"

namespace conclave::cli {

// deploy/slurm/job.sbatch as it was when this program was built.
std::string_view job_template();

// Fills the template's @names@. program: absolute path of `conclave`. INVALID_ARGUMENT with a
// sentence for values that no script can carry, and for a template with unknown or missing names.
absl::StatusOr<std::string> render_job_script(std::string_view text, const JobOptions& options,
                                              const std::string& program);

// One word for bash, whatever it contains (but no line break or NUL, which callers refuse).
std::string shell_quote(std::string_view text);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SUBMIT_JOB_SCRIPT_H_
