#include "cli/serve_options.h"

#include <CLI/CLI.hpp>

namespace conclave::cli {

void add_serve_flags(CLI::App& app, ServeOptions* o) {
  app.set_config("--config", "", "read settings from a TOML or INI file (keys: flag names without dashes in front)")
      ->envname("CONCLAVE_CONFIG");
  add_group_flags(app, &o->group);
  const auto port = CLI::Range(0, 65535);
  app.add_option("--host", o->host, "address of the API")->envname("CONCLAVE_HOST");
  app.add_option("--port", o->port, "port of the API; 0: any free one")->envname("CONCLAVE_PORT")->check(port);
  app.add_option("--admin-host", o->admin_host, "address of the admin listener (/metrics)")->envname("CONCLAVE_ADMIN_HOST");
  app.add_option("--admin-port", o->admin_port, "port of the admin listener; 0: any free one")
      ->envname("CONCLAVE_ADMIN_PORT")->check(port);
  app.add_option("--worker-host", o->worker_host, "address on which ranks join")->envname("CONCLAVE_WORKER_HOST");
  app.add_option("--worker-port", o->worker_port, "port on which ranks join; 0: any free one")
      ->envname("CONCLAVE_WORKER_PORT")->check(port);
  app.add_option("--worker-advertise", o->worker_advertise, "address that ranks are told; default: --worker-host")
      ->envname("CONCLAVE_WORKER_ADVERTISE");
  app.add_flag("--launch,!--no-launch", o->launch, "start the worker group; otherwise wait for ranks to join");
  app.add_option("--secret-file", o->secret_file, "file (mode 0600) with the group's secret; default: made up")
      ->envname("CONCLAVE_SECRET_FILE");
  app.add_option("--served-model-name", o->served_model_name, "name in the API; default: the folder's")
      ->envname("CONCLAVE_SERVED_MODEL_NAME");
  app.add_option("--api-key-file", o->api_key_file, "keys, one a line, that guard all but /health and /ready")
      ->envname("CONCLAVE_API_KEY_FILE");
  app.add_option("--max-queue", o->group.max_queue, "accepted requests that wait; above: 429")->envname("CONCLAVE_MAX_QUEUE");
  app.add_option("--generation-defaults", o->generation_defaults,
                 "where sampling fields that a request leaves out come from: model (generation_config.json) or none")
      ->envname("CONCLAVE_GENERATION_DEFAULTS")->check(CLI::IsMember({"model", "none"}));
  app.add_option("--endpoint-file", o->endpoint_file, "write the API's URL here, atomically, once it listens");
  app.add_option("--admin-endpoint-file", o->admin_endpoint_file, "the same for the admin listener");
  app.add_option("--worker-endpoint-file", o->worker_endpoint_file, "write HOST:PORT for ranks here");
  app.add_option("--drain-timeout-s", o->drain_timeout_s, "on SIGTERM, how long open requests may take to finish")
      ->envname("CONCLAVE_DRAIN_TIMEOUT_S")->check(CLI::Range(0, 1 << 30));
  app.add_option("--max-body-mib", o->max_body_mib, "largest request body")->envname("CONCLAVE_MAX_BODY_MIB")->check(CLI::Range(1, 1024));
  app.add_option("--http-threads", o->http_threads, "threads of the API")->envname("CONCLAVE_HTTP_THREADS")->check(CLI::Range(1, 64));
  app.add_option("--log-level", o->log_level, "debug, info, warning or error")->envname("CONCLAVE_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-format", o->log_format, "text or json")->envname("CONCLAVE_LOG_FORMAT")->check(CLI::IsMember({"text", "json"}));
}

}  // namespace conclave::cli
