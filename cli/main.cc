// `conclave`: the program people call. Links neither MPI nor CUDA.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <utility>

#include "base/log.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/exit_codes.h"

int main(int argc, char** argv) {
  using namespace conclave;
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Conclave: a distributed inference cluster for mixture-of-experts language models"};
  app.name("conclave");
  app.footer(std::string(cli::kExitCodeHelp));
  app.set_version_flag("--version", std::string("conclave ") + kVersion);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();

  int exit_code = cli::kExitOk;
  cli::add_serve_command(app, &exit_code);
  cli::add_worker_command(app, &exit_code);
  cli::add_ask_command(app, &exit_code);
  cli::add_generate_command(app, &exit_code);
  cli::add_logits_command(app, &exit_code);
  cli::add_eval_command(app, &exit_code);
  cli::add_inspect_command(app, &exit_code);
  cli::add_tokenize_command(app, &exit_code);
  cli::add_place_command(app, &exit_code);
  cli::add_profile_command(app, &exit_code);
  cli::add_simulate_command(app, &exit_code);
  cli::add_traffic_command(app, &exit_code);
  cli::add_bench_commands(app, &exit_code);
  cli::add_submit_command(app, &exit_code);
  cli::add_preflight_command(app, &exit_code);
  // CLI11 would say that a command is missing.
  if (argc > 1 && argv[1][0] != '-' && !cli::is_command(app, argv[1])) {
    std::fprintf(stderr, "conclave: there is no command '%s'; `conclave --help` lists them\n", argv[1]);
    return cli::kExitUsage;
  }
  auto arguments = cli::with_config_file(app, {argv + 1, argv + argc});
  if (!arguments.ok()) return cli::report(arguments.status());
  std::reverse(arguments->begin(), arguments->end());  // as CLI11 wants them
  try {
    app.parse(std::move(*arguments));
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? cli::kExitOk : cli::kExitUsage;
  }
  return exit_code;
}
