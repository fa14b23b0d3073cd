#ifndef CONCLAVE_CLI_CONFIG_FILE_H_
#define CONCLAVE_CLI_CONFIG_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace CLI {
class App;
}

namespace conclave::cli {

bool is_command(const CLI::App& app, const std::string& name);

// Adds --config FILE (variable CONCLAVE_CONFIG) to a command: TOML or INI, keys are flag names without dashes in front.
void add_config_flag(CLI::App& command);

// The arguments with the settings of the command's --config file behind them. A flag wins over its environment
// variable, which wins over the file. NOT_FOUND: no such file; INVALID_ARGUMENT: not readable as settings, an
// unknown key. CLI11 (2.1) itself reads configuration files for the top-level app alone.
absl::StatusOr<std::vector<std::string>> with_config_file(CLI::App& app, std::vector<std::string> arguments);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_CONFIG_FILE_H_
