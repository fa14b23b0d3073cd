#ifndef CONCLAVE_CLI_BENCH_COMMANDS_H_
#define CONCLAVE_CLI_BENCH_COMMANDS_H_

#include <string>

#include "absl/status/statusor.h"

namespace CLI {
class App;
}

namespace conclave::cli {

void add_bench_engine_command(CLI::App& parent, int* exit_code);
void add_bench_simulate_command(CLI::App& parent, int* exit_code);
void add_bench_serve_command(CLI::App& parent, int* exit_code);
void add_bench_coordinator_command(CLI::App& parent, int* exit_code);
void add_bench_metrics_command(CLI::App& parent, int* exit_code);
void add_bench_kernels_command(CLI::App& parent, int* exit_code);

// The text of a shape: a file, or a name of bench/shapes; *path says which file it was.
absl::StatusOr<std::string> read_shape(const std::string& name, std::string* path);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_BENCH_COMMANDS_H_
