#include <unistd.h>

#include <csignal>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/group_launcher.h"
#include "cli/handover.h"
#include "cli/listen_errors.h"
#include "cli/serve_options.h"
#include "cli/serve_signals.h"
#include "coordinator/admin/admin_server.h"
#include "coordinator/admin/metrics.h"
#include "coordinator/chat_template/chat_template.h"
#include "coordinator/admin/placement_routes.h"
#include "coordinator/engine/create_engine.h"
#include "coordinator/openai/api_server.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "model/model_folder.h"
#include "model/model_spec.h"

namespace conclave::cli {
namespace {

using coordinator::GroupState;

struct Cluster {
  std::shared_ptr<coordinator::RankLogs> rank_logs;
  KeyFiles key_files;
  std::unique_ptr<coordinator::Metrics> metrics;
  std::unique_ptr<coordinator::PlacementManager> placement;  // null: no routed experts
  std::unique_ptr<coordinator::RoutingRecorder> recorder;    // null: nothing is recorded
  std::string recording;                                     // its file
  std::unique_ptr<coordinator::Engine> engine;
  std::unique_ptr<coordinator::ApiServer> api;
  std::unique_ptr<coordinator::AdminServer> admin;
  // Listeners first, then the engine with its group.
  ~Cluster() {
    admin.reset();
    api.reset();
    if (placement != nullptr) placement->stop();
    const bool ran = recorder != nullptr && engine != nullptr;
    if (ran) recorder->set_fingerprint(engine->status().model_fingerprint);
    engine.reset();
    if (ran) save_recording();
  }

 private:
  void save_recording() const {
    const absl::Status saved = recorder->save(recording);
    if (!saved.ok()) return log_error("the routing was not written", {{"why", std::string(saved.message())}});
    log_info("wrote the recorded routing", {{"file", recording}});
  }
};

absl::StatusOr<std::unique_ptr<coordinator::GroupTransport>> make_transport(
    const ServeOptions& o, std::shared_ptr<coordinator::RankLogs> rank_logs) {
  coordinator::ListenOptions listen;
  listen.ranks = o.group.ranks;
  listen.address = o.worker_host;
  listen.advertised_address = o.worker_advertise;
  listen.port = static_cast<uint16_t>(o.worker_port);
  if (!o.secret_file.empty()) {
    RETURN_IF_ERROR(check_private(o.secret_file));
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
    ASSIGN_OR_RETURN(listen.folder, make_run_folder());
    launcher = make_launcher(o.group, o.worker_advertise.empty() ? o.worker_host : o.worker_advertise, listen.folder,
                             [rank_logs](const std::string& line) { rank_logs->add(line); });
  }
  auto created = coordinator::ListeningTransport::create(std::move(listen), std::move(launcher));
  RETURN_IF_ERROR(name_listen_flag(created.status(), {"--worker-host", "--worker-port", o.worker_port, ""}));
  std::unique_ptr<coordinator::ListeningTransport> transport = *std::move(created);
  if (!o.worker_endpoint_file.empty()) {
    const std::string host = o.worker_advertise.empty() ? o.worker_host : o.worker_advertise;
    RETURN_IF_ERROR(write_file_atomically(o.worker_endpoint_file, join_host_port(host, transport->port()) + "\n"));
  }
  return std::unique_ptr<coordinator::GroupTransport>(std::move(transport));
}

std::string model_name(const ServeOptions& o) {
  return o.served_model_name.empty() ? model::model_folder_name(o.group.model) : o.served_model_name;
}

absl::Status start_admin(const ServeOptions& o, const model::ModelDescription& description, Cluster* cluster) {
  coordinator::AdminOptions options;
  options.http.address = o.admin_host;
  options.http.port = static_cast<uint16_t>(o.admin_port);
  options.socket_path = o.admin_socket;
  if (!o.admin_key_file.empty()) {
    ASSIGN_OR_RETURN(options.keys, cluster->key_files.open(o.admin_key_file));
  }
  coordinator::AdminParts parts;
  parts.engine = cluster->engine.get();
  parts.metrics = cluster->metrics.get();
  parts.version = kVersion;
  parts.model_name = model_name(o);
  parts.model_path = o.group.model;
  parts.spec = description.spec;
  parts.rank_logs = cluster->rank_logs;
  parts.model_folder = std::make_shared<const coordinator::ModelFolderWatch>(o.group.model);
  parts.config = o.effective;
  parts.generate = cluster->api->unguarded_handler();
  if (cluster->placement != nullptr) {
    const auto documents =
        std::make_shared<const coordinator::DocumentFolder>(coordinator::DocumentFolder::path_below(o.state_dir));
    parts.routes.push_back([cluster, documents](coordinator::Router& router) {
      coordinator::add_placement_routes(router, *cluster->placement);
      coordinator::add_profile_routes(router, *cluster->placement, documents);
    });
  }
  auto admin = coordinator::AdminServer::start(std::move(options), std::move(parts));
  RETURN_IF_ERROR(name_listen_flag(admin.status(), {"--admin-host", "--admin-port", o.admin_port, "--admin-socket"}));
  cluster->admin = *std::move(admin);
  return absl::OkStatus();
}

absl::Status start_listeners(const ServeOptions& o, const model::ModelDescription& description,
                             std::shared_ptr<const coordinator::Tokenizer> tokenizer, Cluster* cluster) {
  coordinator::ApiServerParts parts;
  parts.engine = cluster->engine.get();
  parts.metrics = cluster->metrics.get();
  parts.tokenizer = std::move(tokenizer);
  auto chat_template = coordinator::ChatTemplate::from_folder(o.group.model);
  if (chat_template.ok()) {
    parts.chat_template = *chat_template;
    for (const std::string& warning : parts.chat_template->warnings()) log_warning(warning);
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
  options.http.max_total_body_bytes = static_cast<size_t>(o.max_bodies_mib) << 20;
  if (o.max_bodies_mib < o.max_body_mib) {
    return absl::InvalidArgumentError(absl::StrCat("--max-bodies-mib ", o.max_bodies_mib, " is less than --max-body-mib ", o.max_body_mib,
                                                   ", so that no body of that size could come in; raise it"));
  }
  ASSIGN_OR_RETURN(options.http.cors, coordinator::CorsPolicy::from_list(o.cors_origins));
  options.model_name = model_name(o);
  options.vocab_size = description.spec.vocab;
  ASSIGN_OR_RETURN(options.defaults_source, coordinator::parse_generation_defaults_source(o.generation_defaults));
  options.model_defaults = description.generation;
  options.version = kVersion;
  if (!o.api_key_file.empty()) {
    ASSIGN_OR_RETURN(options.api_keys, cluster->key_files.open(o.api_key_file));
  }
  auto api = coordinator::ApiServer::start(std::move(options), std::move(parts));
  RETURN_IF_ERROR(name_listen_flag(api.status(), {"--host", "--port", o.port, ""}));
  cluster->api = *std::move(api);
  RETURN_IF_ERROR(start_admin(o, description, cluster));
  const std::string url = "http://" + join_host_port(o.host, cluster->api->port());
  const std::string admin_url = "http://" + join_host_port(o.admin_host, cluster->admin->port());
  log_info("listening", {{"api", url}, {"admin", admin_url}, {"page", admin_url + "/ui"}, {"model", model_name(o)}});
  if (!o.admin_endpoint_file.empty()) RETURN_IF_ERROR(write_file_atomically(o.admin_endpoint_file, admin_url + "\n"));
  if (!o.endpoint_file.empty()) RETURN_IF_ERROR(write_file_atomically(o.endpoint_file, url + "\n"));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Cluster>> start_cluster(ServeOptions o) {
  RETURN_IF_ERROR(prepare(&o.group));
  // Of an earlier run: nobody shall take it for this one's.
  if (!o.ready_file.empty()) ::unlink(o.ready_file.c_str());
  ASSIGN_OR_RETURN(const model::ModelDescription description, read_model(o.group.model));
  if (o.generation_defaults == "model") RETURN_IF_ERROR(description.generation.unsupported);
  ASSIGN_OR_RETURN(auto tokenizer, coordinator::Tokenizer::from_folder(o.group.model));
  ASSIGN_OR_RETURN(coordinator::EngineOptions engine_options,
                   make_engine_options(o.group, description.spec, tokenizer.get()));
  auto cluster = std::make_unique<Cluster>();
  cluster->metrics = std::make_unique<coordinator::Metrics>(
      coordinator::Metrics::Options{kVersion, model_name(o), o.vllm_metric_names});
  engine_options.observer = cluster->metrics.get();
  engine_options.start_attempts = o.start_attempts;
  o.placement.state_folder = o.state_dir;
  ASSIGN_OR_RETURN(cluster->placement, make_placement_manager(o.placement, description.spec, &engine_options));
  ASSIGN_OR_RETURN(cluster->recorder, make_routing_recorder(o.placement, o.group, description.spec, &engine_options));
  cluster->recording = o.placement.record_routing;
  cluster->rank_logs = std::make_shared<coordinator::RankLogs>(o.rank_logs);
  ASSIGN_OR_RETURN(auto transport, make_transport(o, cluster->rank_logs));
  ASSIGN_OR_RETURN(cluster->engine, coordinator::create_engine(std::move(engine_options), std::move(transport)));
  if (cluster->placement != nullptr) cluster->placement->attach(cluster->engine.get());
  RETURN_IF_ERROR(start_listeners(o, description, std::move(tokenizer), cluster.get()));
  return cluster;
}

void reload(Cluster& cluster) {
  const absl::Status reopened = reopen_log_file();
  if (!reopened.ok()) log_error("the log goes on in the old file", {{"why", std::string(reopened.message())}});
  log_info("SIGHUP: reading the key files again");
  cluster.key_files.reload();
}

struct StopReason {
  int signal = 0;
  std::optional<coordinator::HttpEndpoint> successor;
};

// What ends a coordinator whose group never became ready: a refusal will not mend itself (INVALID_ARGUMENT), deaths may
// (ABORTED).
absl::Status start_failure(const coordinator::EngineStatus& status) {
  using StartFailure = coordinator::EngineStatus::StartFailure;
  if (status.start_failure == StartFailure::kNone) return absl::OkStatus();
  if (status.start_failure == StartFailure::kRefused) return absl::InvalidArgumentError(status.last_failure);
  return absl::AbortedError(absl::StrCat("the worker group did not come up in ", status.start_attempts,
                                         " attempts; the last failure: ", status.last_failure));
}

// Waits for a signal or a successor while saying when the group becomes ready.
absl::StatusOr<StopReason> watch(const ServeSignals& signals, const ServeOptions& o, const Cluster& cluster) {
  GroupState last = GroupState::kStarting;
  bool published = o.ready_file.empty();
  SuccessorFile successor_file(o.successor_file);
  for (;;) {
    if (const int signal = signals.wait(100); signal != 0) return StopReason{signal, {}};
    if (auto successor = successor_file.poll()) return StopReason{0, std::move(successor)};
    const coordinator::EngineStatus status = cluster.engine->status();
    RETURN_IF_ERROR(start_failure(status));
    if (status.state == last) continue;
    last = status.state;
    if (last == GroupState::kReady) {
      log_info("ready", {{"kernel_set", status.kernel_set}, {"compute", status.compute}, {"transport", status.transport},
                         {"ranks", absl::StrCat(status.ranks.size())}, {"kv_blocks", absl::StrCat(status.kv_blocks)}});
    }
    if (last == GroupState::kReady && !published) {
      RETURN_IF_ERROR(write_file_atomically(o.ready_file, "http://" + join_host_port(o.host, cluster.api->port()) + "\n"));
      published = true;
    }
  }
}

// SIGUSR1 means "drain" however often it comes; anything else, while draining, means "now".
bool told_to_stop_at_once(const ServeSignals& signals) {
  const int signal = signals.wait(20);
  return signal != 0 && signal != SIGUSR1;
}

// True when all accepted requests have ended; false after the deadline or a further signal.
bool wait_until_drained(const ServeSignals& signals, const Cluster& cluster, Deadline deadline) {
  while (!cluster.engine->drained()) {
    if (deadline.expired() || told_to_stop_at_once(signals)) return false;
  }
  return true;
}

// Each open request ends with an error that says why: no stream ends quietly (law 3).
void stop_now(const ServeSignals& signals, Cluster& cluster) {
  cluster.engine->drain();
  cluster.engine->end_requests(absl::UnavailableError("the server is shutting down"));
  wait_until_drained(signals, cluster, Deadline::after(std::chrono::seconds(1)));
  cluster.api->stop(std::chrono::seconds(1));
}

// How requests end from a moment on.
class Ends {
 public:
  explicit Ends(const Cluster& cluster) : cluster_(cluster), before_(counts()), open_(cluster.engine->status().open) {}
  int64_t open() const { return open_; }  // at that moment
  void log(const char* what) const {
    const Counts now = counts();
    const int64_t failed = now.failed - before_.failed;
    conclave::log(failed > 0 ? LogLevel::kWarning : LogLevel::kInfo, what,
                  {{"finished", absl::StrCat(now.finished - before_.finished)}, {"failed", absl::StrCat(failed)},
                   {"cancelled", absl::StrCat(now.cancelled - before_.cancelled)},
                   {"open", absl::StrCat(cluster_.engine->status().open)}});
  }

 private:
  struct Counts {
    int64_t finished, failed, cancelled;
  };
  Counts counts() const {
    using coordinator::FinishReason;
    const coordinator::Metrics& metrics = *cluster_.metrics;
    return {metrics.ended(FinishReason::kStop) + metrics.ended(FinishReason::kLength), metrics.ended(FinishReason::kError),
            metrics.ended(FinishReason::kCancelled)};
  }
  const Cluster& cluster_;
  const Counts before_;
  const int64_t open_;
};

void drain(const ServeSignals& signals, const ServeOptions& o, Cluster& cluster) {
  const Ends ends(cluster);
  log_info("draining: no new requests; a second signal stops at once",
           {{"open", absl::StrCat(ends.open())}, {"timeout_s", absl::StrCat(o.drain_timeout_s)}});
  cluster.engine->drain();
  if (wait_until_drained(signals, cluster, Deadline::after(std::chrono::seconds(o.drain_timeout_s)))) {
    cluster.api->stop(std::chrono::seconds(5));  // answers on their way to slow clients
    return ends.log("drained");
  }
  stop_now(signals, cluster);
  ends.log("stopped before all requests were finished: the drain time-out passed or a second signal came");
}

// Ends when the own requests are answered, clients had time to learn the new address, and the successor is still ready.
void hand_over(const ServeSignals& signals, const ServeOptions& o, const coordinator::HttpEndpoint& successor, Cluster& cluster) {
  log_info("handing over: new requests are passed on", {{"to", absl::StrCat("http://", successor.host, ":", successor.port)}});
  if (cluster.placement != nullptr) cluster.placement->stop_saving();
  const Ends ends(cluster);
  cluster.engine->note_handover(absl::StrCat("http://", successor.host, ":", successor.port));
  cluster.api->hand_over_to(successor);  // the engine stays open for requests whose text is still being read
  const Deadline deadline = Deadline::after(std::chrono::seconds(o.drain_timeout_s));
  const Deadline linger = Deadline::after(std::chrono::seconds(o.handover_linger_s));
  const auto done = [&] { return cluster.api->own_open() == 0 && linger.expired() && answers_ready(successor); };
  while (!deadline.expired() && !done()) {
    if (told_to_stop_at_once(signals)) return stop_now(signals, cluster);
  }
  const bool finished = cluster.api->own_open() == 0;
  cluster.engine->drain();
  if (!finished) cluster.engine->end_requests(absl::UnavailableError("the server is shutting down"));
  // Stops accepting, then waits for what is passed on as well.
  cluster.api->stop(std::chrono::seconds(o.drain_timeout_s));
  ends.log(finished ? "handed over" : "the drain time-out passed with requests open");
}

int serve(const ServeOptions& o) {
  set_log_component("coordinator");
  set_log_level(parse_log_level(o.log_level).value_or(LogLevel::kInfo));
  set_log_format(o.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  // The ranks read the same two settings from the environment.
  ::setenv("CONCLAVE_LOG_LEVEL", o.log_level.c_str(), 1);
  ::setenv("CONCLAVE_LOG_FORMAT", o.log_format.c_str(), 1);
  ServeSignals signals;
  if (!o.log_file.empty()) {
    if (const absl::Status opened = open_log_file(o.log_file); !opened.ok()) return report(opened);
  }
  absl::StatusOr<std::unique_ptr<Cluster>> cluster = start_cluster(o);
  if (!cluster.ok()) return report(cluster.status());
  signals.on_hangup([&] { reload(**cluster); });
  const absl::StatusOr<StopReason> reason = watch(signals, o, **cluster);
  if (!reason.ok()) {
    cluster->reset();  // first: what ranks still say must not hide the sentence
    return report(reason.status());
  }
  if (reason->successor) {
    hand_over(signals, o, *reason->successor, **cluster);
    return kExitOk;
  }
  if (reason->signal == SIGTERM || reason->signal == SIGUSR1) {
    drain(signals, o, **cluster);
    return kExitOk;
  }
  const Ends ends(**cluster);
  log_info("interrupted: stopping at once", {{"open", absl::StrCat(ends.open())}});
  stop_now(signals, **cluster);
  ends.log("stopped");
  return kExitInterrupted;
}

void add_one(CLI::App& app, const char* name, const char* description, int* exit_code) {
  auto o = std::make_shared<ServeOptions>();
  CLI::App* command = app.add_subcommand(name, description);
  command->footer("Each setting may come from its flag, its environment variable (in brackets) or the --config file, in that order.\n"
                  "SIGTERM and SIGUSR1 drain and exit 0; SIGINT stops at once; SIGHUP reads the key files and opens the log "
                  "file again.\n\n" + std::string(kExitCodeHelp));
  add_serve_flags(*command, o.get());
  command->callback([o, command, exit_code] {
    o->effective = effective_settings(*command, *o);
    *exit_code = serve(*o);
  });
}

}  // namespace

void add_serve_command(CLI::App& app, int* exit_code) {
  add_one(app, "serve", "Serve a model: coordinator and worker group on this machine", exit_code);
  add_one(app, "coordinator", "The coordinator alone: starts a worker group, or with --no-launch waits for ranks to join", exit_code);
}

}  // namespace conclave::cli
