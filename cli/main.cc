// `conclave`: the program people call. Links neither MPI nor CUDA.

#include <CLI/CLI.hpp>
#include <csignal>

#include "base/log.h"
#include "base/version.h"
#include "cli/commands.h"
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
  cli::add_bench_commands(app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? cli::kExitOk : cli::kExitUsage;
  }
  return exit_code;
}
