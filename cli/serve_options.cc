#include "cli/serve_options.h"

#include <CLI/CLI.hpp>
#include <map>

#include "cli/config_file.h"

namespace conclave::cli {
void add_serve_flags(CLI::App& app, ServeOptions* o) {
  add_config_flag(app);
  add_group_flags(app, &o->group);
  add_placement_flags(app, &o->placement);
  const auto port = CLI::Range(0, 65535);
  app.add_option("--host", o->host, "address of the API")->envname("CONCLAVE_HOST");
  app.add_option("--port", o->port, "port of the API; 0: any free one")->envname("CONCLAVE_PORT")->check(port);
  app.add_option("--admin-host", o->admin_host, "address of the admin listener (/metrics)")->envname("CONCLAVE_ADMIN_HOST");
  app.add_option("--admin-port", o->admin_port, "port of the admin listener; 0: any free one")
      ->envname("CONCLAVE_ADMIN_PORT")->check(port);
  app.add_option("--admin-key-file", o->admin_key_file, "keys, one a line, that guard the admin listener; needed for its verbs beyond loopback")
      ->envname("CONCLAVE_ADMIN_KEY_FILE");
  app.add_option("--admin-socket", o->admin_socket, "Unix socket on which the admin listener answers as well")->envname("CONCLAVE_ADMIN_SOCKET");
  app.add_option("--state-dir", o->state_dir,
                 "folder for what the next start goes on from (placement table and routing profile, shared with a successor) and for the documents "
                 "that admin verbs save; default: nothing is kept, and documents in $XDG_STATE_HOME/conclave or ~/.local/state/conclave")
      ->envname("CONCLAVE_STATE_DIR");
  app.add_option("--worker-host", o->worker_host, "address on which ranks join")->envname("CONCLAVE_WORKER_HOST");
  app.add_option("--worker-port", o->worker_port, "port on which ranks join; 0: any free one")
      ->envname("CONCLAVE_WORKER_PORT")->check(port);
  app.add_option("--worker-advertise", o->worker_advertise, "address that ranks are told; default: --worker-host")
      ->envname("CONCLAVE_WORKER_ADVERTISE");
  app.add_flag("--launch,!--no-launch", o->launch, "start the worker group; otherwise wait for ranks to join");
  app.add_option("--start-attempts", o->start_attempts,
                 "how often ranks that die may be started until the group is ready for the first time; 0: for ever")
      ->envname("CONCLAVE_START_ATTEMPTS")->check(CLI::Range(0, 1 << 20));
  app.add_option("--secret-file", o->secret_file, "file (mode 0600) with the group's secret; default: made up")
      ->envname("CONCLAVE_SECRET_FILE");
  app.add_option("--rank-logs", o->rank_logs,
                 "folder in which something else, such as srun --output, writes rank-N.log: for `conclavectl logs --ranks` and bundles");
  app.add_option("--served-model-name", o->served_model_name, "name in the API; default: the folder's, ORG/NAME in the hub's cache")
      ->envname("CONCLAVE_SERVED_MODEL_NAME");
  app.add_option("--api-key-file", o->api_key_file, "keys, one a line, that guard all but /health and /ready")
      ->envname("CONCLAVE_API_KEY_FILE");
  app.add_option("--cors-origin", o->cors_origins,
                 "origins (https://app.example) whose pages may use the API from a browser; '*' (the default): all; none")
      ->envname("CONCLAVE_CORS_ORIGIN")->delimiter(',');
  app.add_option("--max-queue", o->group.max_queue, "accepted requests that wait; above: 429")->envname("CONCLAVE_MAX_QUEUE");
  app.add_option("--generation-defaults", o->generation_defaults,
                 "where sampling fields that a request leaves out come from: model (generation_config.json) or none")
      ->envname("CONCLAVE_GENERATION_DEFAULTS")->check(CLI::IsMember({"model", "none"}));
  app.add_option("--endpoint-file", o->endpoint_file, "write the API's URL here, atomically, once it listens");
  app.add_option("--admin-endpoint-file", o->admin_endpoint_file, "the same for the admin listener");
  app.add_option("--worker-endpoint-file", o->worker_endpoint_file, "write HOST:PORT for ranks here");
  app.add_option("--ready-file", o->ready_file, "write the API's URL here, atomically, once the group is ready");
  app.add_option("--successor-file", o->successor_file,
                 "when this file appears with the URL of another cluster of the same model, hand over to it: pass new requests on, finish "
                 "the open ones, end");
  app.add_option("--handover-linger-s", o->handover_linger_s, "how long to pass requests on after a hand-over")
      ->envname("CONCLAVE_HANDOVER_LINGER_S")->check(CLI::Range(0, 1 << 30));
  app.add_option("--drain-timeout-s", o->drain_timeout_s, "on SIGTERM or SIGUSR1, how long open requests may take to finish")
      ->envname("CONCLAVE_DRAIN_TIMEOUT_S")->check(CLI::Range(0, 1 << 30));
  app.add_option("--max-body-mib", o->max_body_mib, "largest request body")->envname("CONCLAVE_MAX_BODY_MIB")->check(CLI::Range(1, 1024));
  app.add_option("--max-bodies-mib", o->max_bodies_mib, "bytes that the bodies of all requests may take together; above: 503")
      ->envname("CONCLAVE_MAX_BODIES_MIB")->check(CLI::Range(1, 1 << 20));
  app.add_option("--http-threads", o->http_threads, "threads of the API")->envname("CONCLAVE_HTTP_THREADS")->check(CLI::Range(1, 64));
  app.add_flag("--vllm-metric-names", o->vllm_metric_names, "export metrics under vLLM's names as well, for routers and dashboards")
      ->envname("CONCLAVE_VLLM_METRIC_NAMES");
  app.add_option("--log-level", o->log_level, "debug, info, warning or error")->envname("CONCLAVE_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-file", o->log_file, "append the log, ranks' lines included, to this file instead of stderr; SIGHUP opens it again")
      ->envname("CONCLAVE_LOG_FILE");
  app.add_option("--log-format", o->log_format, "text or json")->envname("CONCLAVE_LOG_FORMAT")->check(CLI::IsMember({"text", "json"}));
}

std::vector<std::pair<std::string, std::string>> effective_settings(const CLI::App& app, const ServeOptions& o) {
  // CLI11 does not know what a flag that nobody gave was bound to.
  const std::map<std::string, bool> flags = {{"prefix-cache", o.group.prefix_cache}, {"pin", o.group.pin}, {"launch", o.launch},
                                             {"vllm-metric-names", o.vllm_metric_names}};
  std::vector<std::pair<std::string, std::string>> settings;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help" || name == "config") continue;
    std::string value = option->get_default_str();
    if (option->count() > 0) {
      value.clear();
      for (const std::string& part : option->results()) value += (value.empty() ? "" : ",") + part;
    }
    if (const auto flag = flags.find(name); flag != flags.end()) value = flag->second ? "true" : "false";
    settings.emplace_back(name, value);
  }
  return settings;
}

}  // namespace conclave::cli
