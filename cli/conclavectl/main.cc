// `conclavectl`: looks at a running cluster and changes it, over the admin listener.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>

#include "base/version.h"
#include "cli/conclavectl/session.h"
#include "cli/conclavectl/verbs.h"
#include "cli/exit_codes.h"

namespace conclave::ctl {
namespace {

// CLI11 reads the environment only after the configuration file, so its name is looked up here.
std::string default_config_file() {
  if (const char* file = std::getenv("CONCLAVECTL_CONFIG"); file != nullptr && *file != '\0') return file;
  if (const char* folder = std::getenv("XDG_CONFIG_HOME"); folder != nullptr && *folder != '\0')
    return std::string(folder) + "/conclave/conclavectl.toml";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/.config/conclave/conclavectl.toml";
  return "/etc/conclave/conclavectl.toml";
}

void add_global_flags(CLI::App& app, SessionOptions* o) {
  app.set_config("--config", default_config_file(), "TOML file with these settings, by flag name (env CONCLAVECTL_CONFIG)")
      ->capture_default_str();
  app.add_option("--endpoint", o->endpoint, "the admin listener: http://HOST:PORT or unix:PATH")
      ->envname("CONCLAVE_ADMIN_ENDPOINT")->capture_default_str();
  app.add_option("--key-file", o->key_file, "file whose first line is the admin key")->envname("CONCLAVE_ADMIN_KEY_FILE");
  app.add_option("-o,--output", o->output, "table, wide, json or yaml")
      ->envname("CONCLAVECTL_OUTPUT")->check(CLI::IsMember({"table", "wide", "json", "yaml"}))->capture_default_str();
  app.add_option("--request-timeout", o->timeout_seconds, "seconds that one question to the server may take")
      ->check(CLI::Range(0.1, 86400.0))->capture_default_str();
}

void add_verbs(CLI::App& app, Action* action) {
  add_status_verbs(app, action);
  add_top_verb(app, action);
  add_object_verbs(app, action);
  add_admission_verbs(app, action);
  add_expert_verbs(app, action);
  add_placement_verbs(app, action);
  add_trace_verbs(app, action);
  add_doctor_verb(app, action);
  add_bundle_verb(app, action);
  add_local_verbs(app, action);
}

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGINT, [](int) { ::_exit(cli::kExitInterrupted); });
  CLI::App app{"Looks at a running Conclave cluster and changes it, over its admin listener"};
  app.name("conclavectl");
  app.footer(std::string("Data goes to stdout, talk to stderr. Colour only on a terminal; NO_COLOR is respected.\n") +
             kExitCodeTable);
  app.set_version_flag("--version", std::string("conclavectl ") + kVersion);
  app.require_subcommand(1);
  app.fallthrough();  // global flags may stand behind the verb
  app.option_defaults()->always_capture_default();
  SessionOptions options;
  Action action;
  add_global_flags(app, &options);
  add_verbs(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::kExitOk : cli::kExitUsage;
  }
  Session session(options);
  return action ? report(action(session)) : cli::kExitUsage;
}

}  // namespace
}  // namespace conclave::ctl

int main(int argc, char** argv) { return conclave::ctl::run(argc, argv); }
