#ifndef CONCLAVE_CLI_COMMANDS_H_
#define CONCLAVE_CLI_COMMANDS_H_

// The subcommands of `conclave`. Each function declares its flags on `app` and sets *exit_code when it ran.

namespace CLI {
class App;
}

namespace conclave::cli {

void add_serve_command(CLI::App& app, int* exit_code);        // serve, coordinator
void add_worker_command(CLI::App& app, int* exit_code);       // worker: executes libexec/conclave/conclave-worker
void add_ask_command(CLI::App& app, int* exit_code);
void add_generate_command(CLI::App& app, int* exit_code);
void add_logits_command(CLI::App& app, int* exit_code);
void add_eval_command(CLI::App& app, int* exit_code);
void add_inspect_command(CLI::App& app, int* exit_code);
void add_tokenize_command(CLI::App& app, int* exit_code);
void add_place_command(CLI::App& app, int* exit_code);
void add_profile_command(CLI::App& app, int* exit_code);
void add_simulate_command(CLI::App& app, int* exit_code);
void add_traffic_command(CLI::App& app, int* exit_code);      // of a recorded run
void add_bench_commands(CLI::App& app, int* exit_code);       // bench engine, serve, coordinator

void add_submit_command(CLI::App& app, int* exit_code);       // a Slurm job
void add_preflight_command(CLI::App& app, int* exit_code);    // one node's checks before such a job loads

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_COMMANDS_H_
