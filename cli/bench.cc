#include <CLI/CLI.hpp>

#include "cli/bench_commands.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"

namespace conclave::cli {

void add_bench_commands(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Measure, with the hardware's limit beside each figure");
  bench->footer(std::string(kExitCodeHelp));
  bench->require_subcommand(1);
  add_bench_engine_command(*bench, exit_code);
  add_bench_simulate_command(*bench, exit_code);
  add_bench_serve_command(*bench, exit_code);
  add_bench_coordinator_command(*bench, exit_code);
  add_bench_metrics_command(*bench, exit_code);
  add_bench_kernels_command(*bench, exit_code);
}

}  // namespace conclave::cli
