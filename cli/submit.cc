#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/group_options.h"
#include "cli/serve_options.h"
#include "cli/submit/job_script.h"
#include "cli/submit/ready_wait.h"
#include "cli/submit/service_folder.h"
#include "cli/submit/slurm_client.h"
#include "model/model_folder.h"
#include "model/weights.h"

namespace conclave::cli {
namespace {

namespace fs = std::filesystem;

struct SubmitOptions {
  JobOptions job;
  std::string min_memory;
  std::string template_file;
  std::string take_over;  // id of a job of the same service
  bool render = false;
  bool dry_run = false;
  bool wait_ready = false;
  int32_t wait_timeout_s = 1800;
  std::string output = "text";
};

// Set by the job's script on the coordinator's command line, where a flag stands once.
constexpr const char* kFlagsOfTheScript[] = {
    "--config",       "--host",       "--admin-host",    "--worker-host",   "--secret-file",
    "--mpirun",       "--state-dir",  "--rank-logs",     "--endpoint-file", "--admin-endpoint-file",
    "--admin-socket", "--ready-file", "--successor-file"};

// Bytes of weights that a node holds: its share of the experts, and all other weights once for each
// of its ranks.
absl::StatusOr<uint64_t> weight_bytes_of_a_node(const JobOptions& o) {
  ASSIGN_OR_RETURN(model::ModelDescription description, model::read_model_description(o.model));
  ASSIGN_OR_RETURN(const auto weights, model::Weights::open(o.model, &description.spec));
  const model::ModelSpec& spec = description.spec;
  const double routed = static_cast<double>(spec.moe_layers().size()) * spec.experts *
                        static_cast<double>(spec.expert_parameters());
  const double all = static_cast<double>(spec.total_parameters());
  const double stored = static_cast<double>(weights->total_bytes()) / all;
  return static_cast<uint64_t>(((all - routed) * o.ranks_per_node + routed / o.nodes) * stored);
}

absl::Status complete(SubmitOptions* o) {
  JobOptions& job = o->job;
  const auto absolute = [](const std::string& path) {
    return fs::absolute(path).lexically_normal().string();
  };
  ASSIGN_OR_RETURN(job.model, model::resolve_model_folder(job.model));
  job.folder = absolute(job.folder.empty() ? job.name + "-service" : job.folder);
  if (!job.targets_folder.empty()) job.targets_folder = absolute(job.targets_folder);
  for (std::string* file : {&job.api_key_file, &job.admin_key_file}) {
    if (file->empty()) continue;
    *file = absolute(*file);
    RETURN_IF_ERROR(read_file(*file, 1 << 20).status());
  }
  if (!o->min_memory.empty()) {
    ASSIGN_OR_RETURN(job.min_memory_bytes, parse_bytes(o->min_memory));
  } else {
    ASSIGN_OR_RETURN(job.min_memory_bytes, weight_bytes_of_a_node(job));
    if (job.gpus_per_node > 0) job.min_memory_bytes = 0;  // the weights go to the GPUs
  }
  return absl::OkStatus();
}

// What the job would find out an hour later: the flags behind -- beside those that the script sets.
absl::Status check_coordinator_flags(const JobOptions& job) {
  std::vector<std::string> words = {"--model", job.model};
  for (const char* flag : kFlagsOfTheScript) words.insert(words.end(), {flag, "x"});
  words.insert(words.end(), job.coordinator_flags.begin(), job.coordinator_flags.end());
  CLI::App app;
  ServeOptions ignored;
  add_serve_flags(app, &ignored);
  app.set_help_flag();
  std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        "behind --: ", error.what(),
        "; expected flags of `conclave coordinator` that the job does not set itself"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> render(const SubmitOptions& o) {
  std::string text(job_template());
  if (!o.template_file.empty()) {
    ASSIGN_OR_RETURN(text, read_file(o.template_file, 1 << 20));
  }
  std::error_code error;
  const std::string program = fs::read_symlink("/proc/self/exe", error).string();
  if (error) return absl::InternalError("cannot find the path of this program");
  return render_job_script(text, o.job, program);
}

void print_job(const SubmitOptions& o, const std::string& id, const std::string& endpoint) {
  const std::string job_folder = o.job.folder + "/job-" + id;
  if (o.output == "json") {
    nlohmann::ordered_json json{{"version", 1},
                                {"job_id", id},
                                {"folder", o.job.folder},
                                {"job_folder", job_folder},
                                {"endpoint_file", o.job.folder + "/endpoint"}};
    json["endpoint"] =
        endpoint.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(endpoint);
    std::puts(json.dump(2).c_str());
    return;
  }
  if (endpoint.empty()) {
    std::printf("%s\n", id.c_str());
  } else {
    std::printf("%s\n", endpoint.c_str());
  }
}

absl::Status ask_slurm_about(const std::string& script) {
  std::error_code error;
  const fs::path temporary = fs::temp_directory_path(error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no folder for temporary files: ", error.message(),
                     "; set TMPDIR to one that can be written"));
  }
  const std::string path =
      absl::StrCat(temporary.string(), "/conclave-submit-", ::getpid(), ".sbatch");
  RETURN_IF_ERROR(write_file_atomically(path, script, 0600));
  const absl::StatusOr<std::string> answer = test_job(path);
  fs::remove(path, error);
  RETURN_IF_ERROR(answer.status());
  std::printf("%s\n", answer->c_str());
  return absl::OkStatus();
}

// sbatch passes the environment on to the job.
absl::Status name_predecessor(const SubmitOptions& o) {
  if (o.take_over.empty()) return absl::OkStatus();
  std::error_code error;
  const std::string predecessor = o.job.folder + "/job-" + o.take_over;
  if (!fs::is_directory(predecessor, error)) {
    return absl::NotFoundError(
        absl::StrCat(predecessor, ": the job of --take-over has no folder there"));
  }
  ::setenv("CONCLAVE_PREDECESSOR", predecessor.c_str(), 1);
  return absl::OkStatus();
}

absl::StatusOr<std::string> submit_script(const SubmitOptions& o, const std::string& script) {
  RETURN_IF_ERROR(name_predecessor(o));
  ASSIGN_OR_RETURN(const auto service, ServiceFolder::create(o.job.folder, script));
  absl::StatusOr<std::string> id = submit_job(service->script_path());
  // A job may wait that nobody could read the id of, or after sbatch was given up: it needs its
  // folder.
  if (id.ok() || absl::IsInternal(id.status()) || absl::IsDeadlineExceeded(id.status())) {
    service->keep();
  }
  return id;
}

absl::Status submit(SubmitOptions o) {
  RETURN_IF_ERROR(complete(&o));
  RETURN_IF_ERROR(check_coordinator_flags(o.job));
  ASSIGN_OR_RETURN(const std::string script, render(o));
  if (o.render) {
    std::fwrite(script.data(), 1, script.size(), stdout);
    return absl::OkStatus();
  }
  if (o.dry_run) return ask_slurm_about(script);
  ASSIGN_OR_RETURN(const std::string id, submit_script(o, script));
  std::fprintf(stderr, "conclave: job %s submitted; its folder is %s/job-%s\n", id.c_str(),
               o.job.folder.c_str(), id.c_str());
  std::string endpoint;
  if (o.wait_ready) {
    ASSIGN_OR_RETURN(endpoint,
                     wait_until_ready(o.job.folder, id, std::chrono::seconds(o.wait_timeout_s)));
  }
  print_job(o, id, endpoint);
  return absl::OkStatus();
}

void add_job_flags(CLI::App& app, SubmitOptions* o) {
  JobOptions& job = o->job;
  app.add_option("-m,--model", job.model, "model folder, at the same path on every node")
      ->required()
      ->envname("CONCLAVE_MODEL");
  app.add_option("-N,--nodes", job.nodes, "nodes of the job")
      ->required()
      ->check(CLI::Range(1, 65536));
  app.add_option("--ranks-per-node", job.ranks_per_node, "ranks on each node")
      ->required()
      ->check(CLI::Range(1, 1024));
  app.add_option("--gpus-per-node", job.gpus_per_node, "GPUs of each node (gres gpu)")
      ->check(CLI::Range(0, 64));
  app.add_option("--cpus-per-rank", job.cpus_per_rank,
                 "cores, and threads, of each rank; 0: as the site gives")
      ->check(CLI::Range(0, 4096));
  app.add_option("--time", job.time, "wall-time in Slurm's syntax; default: the partition's");
  app.add_option("-p,--partition", job.partition, "partition");
  app.add_option("-A,--account", job.account, "account to charge");
  app.add_option("--qos", job.qos, "quality of service");
  app.add_option("--name", job.name, "name of the service and its jobs");
  app.add_option("--sbatch-option", job.sbatch_options,
                 "a further option of sbatch, such as --mem=0; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--folder", job.folder,
                 "folder of the service on a shared file system; default: ./NAME-service");
  app.add_option("--targets-dir", job.targets_folder,
                 "where Prometheus finds its file_sd targets; default: FOLDER/targets");
}

void add_service_flags(CLI::App& app, SubmitOptions* o) {
  JobOptions& job = o->job;
  const auto port = CLI::Range(0, 65535);
  app.add_option("--listen", job.listen,
                 "address of the listeners; node: the one that Slurm has for the first node");
  app.add_option("--port", job.port, "port of the API; 0: any free one, see the endpoint file")
      ->check(port);
  app.add_option("--admin-port", job.admin_port, "port of the admin listener; 0: any free one")
      ->check(port);
  app.add_option("--api-key-file", job.api_key_file,
                 "keys of the API, one a line; default: FOLDER/api_key, made by the job");
  app.add_option("--admin-key-file", job.admin_key_file,
                 "keys of the admin listener; without, its verbs work on the first node alone, "
                 "through the socket in job-ID/admin_socket");
  app.add_flag("--api-key,!--no-api-key", job.api_key, "ask clients for a key");
  app.add_option("--lead", job.lead_s,
                 "seconds before the end of the wall-time at which the job drains or hands over")
      ->check(CLI::Range(1, 1 << 20));
  app.add_flag("--chain", job.chain, "hand over to a successor job before the wall-time ends");
  app.add_option("--take-over", o->take_over,
                 "id of a job of the same service, which hands over to this one once it is ready");
  app.add_option("--handover-linger", job.handover_linger_s,
                 "seconds for which a job that handed over still passes requests on")
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("--preflight,!--no-preflight", job.preflight, "check every node before loading");
  app.add_option("--min-memory", o->min_memory,
                 "free memory that each node must have; default: what its weights need");
  app.add_option("--min-read-rate", job.min_read_mib_per_s,
                 "MiB/s at which each node must read the model; 0: only report");
  app.add_option("coordinator_flags", job.coordinator_flags,
                 "behind --: flags of `conclave coordinator`, for example -- --max-running 512");
}

}  // namespace

void add_submit_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<SubmitOptions>();
  CLI::App* command = app.add_subcommand("submit", "Serve a model as a Slurm job");
  command->footer(
      "Writes FOLDER/job.sbatch and submits it; each job has a folder FOLDER/job-ID with its "
      "settings, script and logs.\n"
      "FOLDER/endpoint holds the URL of the job that serves. Prints the job's id, or with "
      "--wait-ready the URL.\n\n" +
      std::string(kExitCodeHelp));
  add_job_flags(*command, o.get());
  add_service_flags(*command, o.get());
  auto* render = command->add_flag("--render", o->render, "print the script and submit nothing");
  command
      ->add_flag("--dry-run", o->dry_run,
                 "let Slurm check the script (sbatch --test-only) and submit nothing")
      ->excludes(render);
  command->add_option("--template", o->template_file,
                      "use this file in place of the built-in deploy/slurm/job.sbatch");
  command->add_flag("--wait-ready", o->wait_ready,
                    "return when the service answers, or the job has ended");
  command->add_option("--wait-timeout", o->wait_timeout_s, "seconds to wait with --wait-ready")
      ->check(CLI::Range(1, 1 << 24));
  command->add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(submit(*o)); });
}

}  // namespace conclave::cli
