#ifndef CONCLAVE_CLI_EXIT_CODES_H_
#define CONCLAVE_CLI_EXIT_CODES_H_

#include <string_view>

#include "absl/status/status.h"

namespace conclave::cli {

// The exit codes of every program; listed in each --help and in docs/cli.md.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;      // something went wrong while running
inline constexpr int kExitUsage = 2;        // unknown flag, missing or contradicting arguments
inline constexpr int kExitBadInput = 3;     // a model, file or value that cannot be used; nothing was changed
inline constexpr int kExitUnavailable = 4;  // the cluster did not become ready, or went away
inline constexpr int kExitGroupDied = 75;   // the ranks died each time they were started; another try may succeed
inline constexpr int kExitInterrupted = 130;

inline constexpr std::string_view kExitCodeHelp =
    "Exit codes: 0 success, 1 failure while running, 2 wrong usage, 3 unusable model, file or value,\n"
    "4 cluster not available, 75 the ranks died while starting (worth another try), 130 interrupted.";

// Prints "conclave: <message>" on stderr and returns the exit code that belongs to the kind of error.
int report(const absl::Status& status);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_EXIT_CODES_H_
