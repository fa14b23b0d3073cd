#ifndef CONCLAVE_CLI_SERVE_OPTIONS_H_
#define CONCLAVE_CLI_SERVE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/group_options.h"
#include "cli/placement_setup.h"

namespace CLI {
class App;
}

namespace conclave::cli {

// The settings of a coordinator, declared once: flags, environment variables and config-file keys.
struct ServeOptions {
  GroupOptions group;
  PlacementOptions placement;
  std::string host = "127.0.0.1";
  int32_t port = 8000;
  std::string admin_host = "127.0.0.1";
  int32_t admin_port = 8001;
  std::string admin_key_file;
  std::string admin_socket;
  std::string state_dir;           // what is saved for the next start; empty: nothing
  std::string worker_host = "127.0.0.1";
  int32_t worker_port = 0;
  std::string worker_advertise;    // what ranks connect to; empty: worker_host
  bool launch = true;
  int32_t start_attempts = 5;
  std::string secret_file;
  std::string served_model_name;
  std::string api_key_file;
  std::vector<std::string> cors_origins{"*"};
  std::string generation_defaults = "model";
  std::string endpoint_file;
  std::string admin_endpoint_file;
  std::string worker_endpoint_file;
  std::string ready_file;
  std::string successor_file;
  int32_t handover_linger_s = 60;
  std::string rank_logs;           // folder with rank-N.log, where something else writes what ranks say
  int32_t drain_timeout_s = 600;
  int32_t max_body_mib = 8;
  int32_t max_bodies_mib = 256;
  int32_t http_threads = 1;
  bool vllm_metric_names = false;
  std::string log_level = "info";
  std::string log_file;  // empty: stderr
  std::string log_format = "text";
  std::vector<std::pair<std::string, std::string>> effective;  // every setting by flag name, for `conclavectl get config`
};

void add_serve_flags(CLI::App& app, ServeOptions* options);
// Every option of the parsed app with the value in effect.
std::vector<std::pair<std::string, std::string>> effective_settings(const CLI::App& app, const ServeOptions& options);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SERVE_OPTIONS_H_
