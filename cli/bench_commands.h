#ifndef CONCLAVE_CLI_BENCH_COMMANDS_H_
#define CONCLAVE_CLI_BENCH_COMMANDS_H_

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

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_BENCH_COMMANDS_H_
