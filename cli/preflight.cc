#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/group_options.h"
#include "cli/preflight/node_checks.h"
#include "cli/preflight/verdict.h"
#include "model/model_folder.h"

namespace conclave::cli {
namespace {

struct PreflightOptions {
  std::string model;
  bool model_given = false;  // an empty name is one that was forgotten
  std::string min_memory;
  double min_read_rate = 0;
  int32_t gpus = 0;
  GpuLibraries libraries;
  LinkOptions links;
  bool judge = false;
  std::vector<std::string> expected;
};

std::string node_name() {
  if (const char* name = std::getenv("SLURMD_NODENAME"); name != nullptr) return name;
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return host;
}

absl::Status run_judge(const PreflightOptions& o) {
  if (o.links.folder.empty() || o.expected.empty())
    return absl::InvalidArgumentError("--judge needs --folder and --expect");
  ASSIGN_OR_RETURN(const std::string verdict,
                   judge(o.expected, read_reports(o.links.folder, o.expected)));
  std::printf("%s\n", verdict.c_str());
  return absl::OkStatus();
}

absl::Status check_node(PreflightOptions o) {
  uint64_t memory = 0;
  if (!o.min_memory.empty()) {
    ASSIGN_OR_RETURN(memory, parse_bytes(o.min_memory));
  }
  NodeReport report;
  report.node = o.links.node = node_name();
  if (o.gpus > 0) report.checks.push_back(check_gpus({o.gpus, o.links.nodes > 1}, o.libraries));
  report.checks.push_back(check_memory(memory));
  if (o.model_given) {
    ASSIGN_OR_RETURN(const std::string folder, model::resolve_model_folder(o.model));
    report.checks.push_back(check_model_files(folder, o.min_read_rate));
  }
  if (!o.links.folder.empty()) report.checks.push_back(check_links(o.links, &report.unreachable));
  if (!o.links.folder.empty()) {
    RETURN_IF_ERROR(write_file_atomically(absl::StrCat(o.links.folder, "/", report.node, ".json"),
                                          to_json(report)));
  }
  std::printf("%s", to_json(report).c_str());
  std::fflush(stdout);
  // One node alone is judged at once; of many the batch script asks for the verdict.
  return judge({report.node}, {{report.node, report}}).status();
}

}  // namespace

void add_preflight_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<PreflightOptions>();
  CLI::App* command = app.add_subcommand(
      "preflight",
      "Check whether this node can serve: memory, model files, GPUs, links to other nodes");
  command->footer(
      "Jobs of `conclave submit` run it on every node before they load. Prints the findings as "
      "JSON; exit code 3 if a check fails.\n\n" +
      std::string(kExitCodeHelp));
  command->add_option("-m,--model", o->model, "model folder whose files must be readable");
  command->add_option("--min-memory", o->min_memory, "memory that must be free, for example 64GiB");
  command
      ->add_option("--min-read-rate", o->min_read_rate,
                   "MiB/s at which the model must be read; 0: any")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--gpus", o->gpus, "GPUs that must be there")->check(CLI::Range(0, 64));
  command->add_option(
      "--folder", o->links.folder,
      "folder that all nodes of the job see: reports, and addresses for the links' check");
  command->add_option("--nodes", o->links.nodes, "nodes of the job")->check(CLI::Range(1, 65536));
  command
      ->add_option("--coordinator-address", o->links.coordinator_address,
                   "address of the first node")
      ->default_str("127.0.0.1");
  command->add_option("--timeout-ms", o->links.timeout_ms, "how long to wait for the other nodes")
      ->check(CLI::Range(100, 1 << 24));
  command->add_flag("--judge", o->judge,
                    "read the reports in --folder and say whether the job may start");
  command->add_option("--expect", o->expected, "names of the nodes that must have reported")
      ->delimiter(',');
  command->add_option("--cuda-driver", o->libraries.driver, "the GPU driver's library")
      ->envname("CONCLAVE_CUDA_DRIVER_LIBRARY");
  command->add_option("--cuda-runtime", o->libraries.runtime, "the CUDA runtime's library")
      ->envname("CONCLAVE_CUDA_RUNTIME_LIBRARY");
  command->add_option("--nccl", o->libraries.nccl, "NCCL's library")
      ->envname("CONCLAVE_NCCL_LIBRARY");
  command->callback([o, command, exit_code] {
    o->model_given = command->count("--model") > 0;
    if (o->links.coordinator_address.empty()) o->links.coordinator_address = "127.0.0.1";
    *exit_code = report(o->judge ? run_judge(*o) : check_node(*o));
  });
}

}  // namespace conclave::cli
