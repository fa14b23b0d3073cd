#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/group_launcher.h"

namespace conclave::cli {

void add_worker_command(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("worker", "Run ranks that join a coordinator (executes conclave-worker)");
  command->footer("All flags go to conclave-worker: `conclave worker --help-worker` lists them.\n"
                  "More than one rank under MPI: mpirun -n N conclave worker --coordinator HOST:PORT --secret-file FILE\n\n" +
                  std::string(kExitCodeHelp));
  command->prefix_command();
  command->callback([command, exit_code] {
    const absl::StatusOr<std::string> program = worker_program();
    if (!program.ok()) {
      *exit_code = report(program.status());
      return;
    }
    std::vector<std::string> words = command->remaining();
    std::vector<char*> argv{const_cast<char*>(program->c_str())};
    for (std::string& word : words) {
      if (word == "--help-worker") word = "--help";
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    ::execv(program->c_str(), argv.data());
    *exit_code = report(absl::InternalError(absl::StrCat(*program, ": cannot execute: ", std::strerror(errno))));
  });
}

}  // namespace conclave::cli
