#include "cli/config_file.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace conclave::cli {
namespace {

constexpr const char* kFlag = "--config";
constexpr const char* kVariable = "CONCLAVE_CONFIG";
constexpr size_t kMaxFileBytes = size_t{1} << 20;

CLI::App* command_of(CLI::App& app, const std::vector<std::string>& arguments) {
  if (arguments.empty()) return nullptr;
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == arguments.front()) return command;
  }
  return nullptr;
}

std::string config_path(const std::vector<std::string>& arguments) {
  std::string path;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == kFlag && i + 1 < arguments.size()) path = arguments[i + 1];
    if (arguments[i].rfind(absl::StrCat(kFlag, "="), 0) == 0) path = arguments[i].substr(std::string(kFlag).size() + 1);
  }
  if (!path.empty()) return path;
  const char* variable = std::getenv(kVariable);
  return variable == nullptr ? "" : variable;
}

// By a flag or an environment variable.
bool given_elsewhere(const CLI::Option& option, const std::vector<std::string>& arguments) {
  if (!option.get_envname().empty() && std::getenv(option.get_envname().c_str()) != nullptr) return true;
  return std::any_of(arguments.begin(), arguments.end(), [&option](const std::string& argument) {
    const auto is_long = [&argument](const std::string& name) {
      const std::string flag = absl::StrCat("--", name);
      return argument == flag || argument.rfind(absl::StrCat(flag, "="), 0) == 0;
    };
    const auto is_short = [&argument](const std::string& name) {
      return argument.size() > 1 && argument[1] != '-' && argument.rfind(absl::StrCat("-", name), 0) == 0;
    };
    const auto& longs = option.get_lnames();
    const auto& shorts = option.get_snames();
    return std::any_of(longs.begin(), longs.end(), is_long) || std::any_of(shorts.begin(), shorts.end(), is_short);
  });
}

absl::StatusOr<std::vector<CLI::ConfigItem>> read_settings(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxFileBytes));
  try {
    std::istringstream stream(text);
    return CLI::ConfigTOML().from_config(stream);
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
}

absl::Status append_setting(const std::string& path, CLI::App& command, const CLI::ConfigItem& item,
                            const std::vector<std::string>& given, std::vector<std::string>* arguments) {
  if (!item.parents.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": section [", item.parents.front(), "] is not used; write all settings without sections"));
  }
  const std::string flag = absl::StrCat("--", item.name);
  const CLI::Option* option = command.get_option_no_throw(flag);
  if (option == nullptr || item.name == "config" || item.name == "help") {
    return absl::InvalidArgumentError(absl::StrCat(path, ": unknown setting \"", item.name, "\"; `conclave ",
                                                   command.get_name(), " --help` lists the flags, which are the keys"));
  }
  if (given_elsewhere(*option, given)) return absl::OkStatus();
  for (const std::string& value : item.inputs) arguments->push_back(absl::StrCat(flag, "=", value));
  return absl::OkStatus();
}

}  // namespace

bool is_command(const CLI::App& app, const std::string& name) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  return std::any_of(commands.begin(), commands.end(),
                     [&name](const CLI::App* command) { return command->get_name() == name; });
}

void add_config_flag(CLI::App& command) {
  // Read by with_config_file(); declared for --help.
  command.add_option(kFlag, "read settings from a TOML or INI file (keys: flag names without dashes in front)")
      ->envname(kVariable)->type_name("FILE");
}

absl::StatusOr<std::vector<std::string>> with_config_file(CLI::App& app, std::vector<std::string> arguments) {
  CLI::App* command = command_of(app, arguments);
  if (command == nullptr || command->get_option_no_throw(kFlag) == nullptr) return arguments;
  const std::string path = config_path(arguments);
  if (path.empty()) return arguments;
  ASSIGN_OR_RETURN(const std::vector<CLI::ConfigItem> settings, read_settings(path));
  const std::vector<std::string> given = arguments;
  for (const CLI::ConfigItem& item : settings) {
    // CLI11 marks sections by items of these names.
    if (item.name == "++" || item.name == "--") continue;
    RETURN_IF_ERROR(append_setting(path, *command, item, given, &arguments));
  }
  return arguments;
}

}  // namespace conclave::cli
