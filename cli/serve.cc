#include <csignal>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/serve_options.h"
#include "coordinator/admin/admin_server.h"
#include "coordinator/admin/metrics.h"
#include "coordinator/chat_template/chat_template.h"
#include "coordinator/engine/create_engine.h"
#include "coordinator/openai/api_server.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "model/model_spec.h"

namespace conclave::cli {
namespace {

using coordinator::GroupState;

// Signals are taken by the main thread with sigtimedwait; all other threads inherit the mask.
sigset_t block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// 0 if none came within the time.
int wait_for_signal(const sigset_t& signals, int milliseconds) {
  timespec time{milliseconds / 1000, (milliseconds % 1000) * 1000000L};
  const int signal = sigtimedwait(&signals, nullptr, &time);
  return signal > 0 ? signal : 0;
}

struct Cluster {
  std::unique_ptr<coordinator::Metrics> metrics;
  std::unique_ptr<coordinator::Engine> engine;
  std::unique_ptr<coordinator::ApiServer> api;
  std::unique_ptr<coordinator::AdminServer> admin;
  // Listeners first, then the engine with its group.
  ~Cluster() {
    admin.reset();
    api.reset();
    engine.reset();
  }
};

absl::StatusOr<std::unique_ptr<coordinator::GroupTransport>> make_transport(const ServeOptions& o) {
  coordinator::ListenOptions listen;
  listen.ranks = o.group.ranks;
  listen.address = o.worker_host;
  listen.advertised_address = o.worker_advertise;
  listen.port = static_cast<uint16_t>(o.worker_port);
  if (!o.secret_file.empty()) {
    ASSIGN_OR_RETURN(listen.secret, read_file(o.secret_file, 4096));
    while (!listen.secret.empty() && listen.secret.back() == '\n') listen.secret.pop_back();
    if (listen.secret.size() < 16) {
      return absl::InvalidArgumentError(absl::StrCat(o.secret_file, ": the group's secret is shorter than 16 characters"));
    }
    listen.secret_file = std::filesystem::absolute(o.secret_file).string();
  } else if (!o.launch) {
    return absl::InvalidArgumentError("--no-launch needs --secret-file, so that ranks can prove that they belong here");
  }
  std::unique_ptr<coordinator::GroupLauncher> launcher;
  if (o.launch) {
    RETURN_IF_ERROR(worker_program().status());
    launcher = make_launcher(o.group);
  }
  ASSIGN_OR_RETURN(auto transport, coordinator::ListeningTransport::create(std::move(listen), std::move(launcher)));
  if (!o.worker_endpoint_file.empty()) {
    const std::string host = o.worker_advertise.empty() ? o.worker_host : o.worker_advertise;
    RETURN_IF_ERROR(write_file_atomically(o.worker_endpoint_file, absl::StrCat(host, ":", transport->port(), "\n")));
  }
  return std::unique_ptr<coordinator::GroupTransport>(std::move(transport));
}

std::string model_name(const ServeOptions& o) {
  if (!o.served_model_name.empty()) return o.served_model_name;
  std::filesystem::path path(o.group.model);
  if (path.filename().empty()) path = path.parent_path();
  return path.filename().string();
}

absl::Status start_listeners(const ServeOptions& o, const model::ModelDescription& description, Cluster* cluster) {
  coordinator::ApiServerParts parts;
  parts.engine = cluster->engine.get();
  parts.metrics = cluster->metrics.get();
  ASSIGN_OR_RETURN(parts.tokenizer, coordinator::Tokenizer::from_folder(o.group.model));
  auto chat_template = coordinator::ChatTemplate::from_folder(o.group.model);
  if (chat_template.ok()) {
    parts.chat_template = *chat_template;
  } else if (absl::IsNotFound(chat_template.status())) {
    log_warning("the model ships no chat template: /v1/chat/completions will refuse requests");
  } else {
    return chat_template.status();
  }
  coordinator::ApiServerOptions options;
  options.http.address = o.host;
  options.http.port = static_cast<uint16_t>(o.port);
  options.http.threads = o.http_threads;
  options.http.max_body_bytes = static_cast<size_t>(o.max_body_mib) << 20;
  options.model_name = model_name(o);
  options.vocab_size = description.spec.vocab;
  ASSIGN_OR_RETURN(options.defaults_source, coordinator::parse_generation_defaults_source(o.generation_defaults));
  options.model_defaults = description.generation;
  options.version = kVersion;
  if (!o.api_key_file.empty()) {
    ASSIGN_OR_RETURN(options.api_keys, coordinator::ApiKeys::from_file(o.api_key_file));
  }
  ASSIGN_OR_RETURN(cluster->api, coordinator::ApiServer::start(std::move(options), std::move(parts)));
  coordinator::HttpServerOptions admin;
  admin.address = o.admin_host;
  admin.port = static_cast<uint16_t>(o.admin_port);
  ASSIGN_OR_RETURN(cluster->admin, coordinator::AdminServer::start(admin, *cluster->engine, *cluster->metrics));
  const std::string url = absl::StrCat("http://", o.host, ":", cluster->api->port());
  const std::string admin_url = absl::StrCat("http://", o.admin_host, ":", cluster->admin->port());
  log_info("listening", {{"api", url}, {"admin", admin_url}, {"model", model_name(o)}});
  if (!o.admin_endpoint_file.empty()) RETURN_IF_ERROR(write_file_atomically(o.admin_endpoint_file, admin_url + "\n"));
  if (!o.endpoint_file.empty()) RETURN_IF_ERROR(write_file_atomically(o.endpoint_file, url + "\n"));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Cluster>> start_cluster(ServeOptions o) {
  RETURN_IF_ERROR(prepare(&o.group));
  ASSIGN_OR_RETURN(const model::ModelDescription description, model::read_model_description(o.group.model));
  ASSIGN_OR_RETURN(coordinator::EngineOptions engine_options, make_engine_options(o.group, description.spec));
  auto cluster = std::make_unique<Cluster>();
  cluster->metrics = std::make_unique<coordinator::Metrics>(kVersion, model_name(o));
  engine_options.observer = cluster->metrics.get();
  ASSIGN_OR_RETURN(auto transport, make_transport(o));
  ASSIGN_OR_RETURN(cluster->engine, coordinator::create_engine(std::move(engine_options), std::move(transport)));
  RETURN_IF_ERROR(start_listeners(o, description, cluster.get()));
  return cluster;
}

// Waits for a signal while saying when the group becomes ready. Returns an error if a group that was
// started here never did: a broken model will not mend itself.
absl::StatusOr<int> watch(const sigset_t& signals, const ServeOptions& o, const Cluster& cluster) {
  GroupState last = GroupState::kStarting;
  for (;;) {
    if (const int signal = wait_for_signal(signals, 100); signal != 0) return signal;
    const coordinator::EngineStatus status = cluster.engine->status();
    if (status.state == last) continue;
    last = status.state;
    const bool was_ready = !status.model_fingerprint.empty();
    if (o.launch && !was_ready && last == GroupState::kFailed) return absl::InvalidArgumentError(status.last_failure);
    if (last == GroupState::kReady) {
      log_info("ready", {{"kernel_set", status.kernel_set}, {"compute", status.compute}, {"transport", status.transport},
                         {"ranks", absl::StrCat(status.ranks.size())}, {"kv_blocks", absl::StrCat(status.kv_blocks)}});
    }
  }
}

void drain(const sigset_t& signals, const ServeOptions& o, Cluster& cluster) {
  log_info("draining: no new requests; a second signal stops at once", {{"timeout_s", absl::StrCat(o.drain_timeout_s)}});
  cluster.engine->drain();
  const Deadline deadline = Deadline::after(std::chrono::seconds(o.drain_timeout_s));
  while (!cluster.engine->drained() && !deadline.expired()) {
    if (wait_for_signal(signals, 20) != 0) return;
  }
  cluster.api->stop(std::chrono::seconds(5));
  log_info(cluster.engine->drained() ? "drained" : "the drain time-out passed with requests open");
}

int serve(const ServeOptions& o) {
  set_log_component("coordinator");
  set_log_level(o.log_level == "debug" ? LogLevel::kDebug : o.log_level == "warning" ? LogLevel::kWarning
                : o.log_level == "error" ? LogLevel::kError : LogLevel::kInfo);
  set_log_format(o.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  // The ranks read the same two settings from the environment.
  ::setenv("CONCLAVE_LOG_LEVEL", o.log_level.c_str(), 1);
  ::setenv("CONCLAVE_LOG_FORMAT", o.log_format.c_str(), 1);
  const sigset_t signals = block_stop_signals();
  absl::StatusOr<std::unique_ptr<Cluster>> cluster = start_cluster(o);
  if (!cluster.ok()) return report(cluster.status());
  const absl::StatusOr<int> signal = watch(signals, o, **cluster);
  if (!signal.ok()) return report(signal.status());
  if (*signal == SIGTERM) {
    drain(signals, o, **cluster);
    return kExitOk;
  }
  log_info("interrupted: stopping at once");
  (*cluster)->api->stop(std::chrono::milliseconds(200));
  return kExitInterrupted;
}

void add_one(CLI::App& app, const char* name, const char* description, int* exit_code) {
  auto o = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand(name, description);
  command->footer("Each setting may come from its flag, its environment variable (in brackets) or the --config file, in that order.\n"
                  "SIGTERM drains and exits 0; SIGINT stops at once.\n\n" + std::string(kExitCodeHelp));
  add_serve_flags(*command, o.get());
  command->callback([o, exit_code] { *exit_code = serve(*o); });
}

}  // namespace

void add_serve_command(CLI::App& app, int* exit_code) {
  add_one(app, "serve", "Serve a model: coordinator and worker group on this machine", exit_code);
  add_one(app, "coordinator", "The coordinator alone: starts a worker group, or with --no-launch waits for ranks to join", exit_code);
}

}  // namespace conclave::cli
