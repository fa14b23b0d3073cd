#include "cli/group_launcher.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/host_port.h"
#include "base/status_macros.h"

namespace conclave::cli {
namespace {

namespace fs = std::filesystem;
using coordinator::RunFolder;

constexpr const char* kSharedMemory = "/dev/shm";
constexpr const char* kLaunchFolder = "mpi";  // in the run's folder; emptied at each start of the group

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool is_set(const std::string& variable) { return std::getenv(variable.c_str()) != nullptr; }

// Ranks elsewhere could not reach the coordinator. A batch system's allocation may be laid out otherwise than it looks.
bool is_one_host(const std::string& address) {
  const bool loopback = address.rfind("127.", 0) == 0 || address == "::1";
  const std::initializer_list<const char*> batch_systems = {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "PE_HOSTFILE", "COBALT_JOBID"};
  return loopback && std::none_of(batch_systems.begin(), batch_systems.end(), is_set);
}

// What Open MPI needs on one host: any number of ranks, no binding (our pool pins), yield while
// waiting, no probing of fabrics that are not there; root is common in containers.
std::vector<std::string> mpi_environment() {
  return {"OMPI_ALLOW_RUN_AS_ROOT=1",           "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_hwloc_base_binding_policy=none",
          "OMPI_MCA_mpi_yield_when_idle=1",      "OMPI_MCA_osc=^ucx,rdma"};
}

// Rows through shared memory, so that no rank listens; mpirun's own socket with loopback as its interface.
// Open MPI refuses an interface list beside an operator's list of the other kind.
std::vector<std::string> one_host_environment(const std::string& mpi_args) {
  std::vector<std::string> settings;
  const auto operators_own = [&](const std::string& name) {
    return is_set("OMPI_MCA_" + name) || mpi_args.find(name) != std::string::npos;
  };
  if (!operators_own("pml") && !operators_own("mtl") && !operators_own("btl")) {
    settings.insert(settings.end(), {"OMPI_MCA_pml=ob1", "OMPI_MCA_btl=self,vader"});
  }
  if (!operators_own("oob_tcp_if_include") && !operators_own("oob_tcp_if_exclude")) settings.push_back("OMPI_MCA_oob_tcp_if_include=lo");
  return settings;
}

fs::path own_libexec() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : self.parent_path().parent_path() / "libexec" / "conclave";
}

// The library that keeps mpirun's sockets on loopback, after what the operator preloads. Only for mpirun itself.
std::vector<std::string> preload_for(const std::string& mpirun) {
  const std::string name = fs::path(mpirun).filename().string();
  const std::string library = (own_libexec() / "conclave_loopback.so").string();
  if ((name != "mpirun" && name != "mpiexec" && name != "orterun") || ::access(library.c_str(), R_OK) != 0) return {};
  const char* own = std::getenv("LD_PRELOAD");
  return {absl::StrCat("LD_PRELOAD=", own == nullptr || *own == '\0' ? "" : absl::StrCat(own, ":"), library)};
}

std::vector<std::string> worker_arguments(const coordinator::LaunchSpec& spec, const std::string& transport,
                                          const std::string& device) {
  return {"--coordinator", join_host_port(spec.coordinator_address, spec.coordinator_port),
          "--secret-file", spec.secret_file,
          "--group",       absl::StrCat(spec.group),
          "--ranks",       absl::StrCat(spec.ranks),
          "--transport",   transport,
          "--device",      device};
}

std::vector<std::string> command_line(const GroupOptions& o, const std::string& transport, const coordinator::LaunchSpec& spec) {
  std::vector<std::string> argv;
  if (transport == "mpi") {
    argv = {o.mpirun, "-n", absl::StrCat(spec.ranks)};
    for (std::string& word : split_words(o.mpi_args)) argv.push_back(std::move(word));
  }
  argv.push_back(worker_program().value_or("conclave-worker"));
  for (std::string& argument : worker_arguments(spec, transport, o.device)) argv.push_back(std::move(argument));
  return argv;
}

// Where mpirun and ranks put files: $TMPDIR for sessions, and for segments of shared memory.
struct Traces {
  std::shared_ptr<RunFolder> folder, memory;  // memory may be null: then segments lie where Open MPI wants them
  std::vector<std::string> environment() const {
    std::vector<std::string> settings = {absl::StrCat("TMPDIR=", folder->path(), "/", kLaunchFolder)};
    if (memory != nullptr && !is_set("OMPI_MCA_btl_vader_backing_directory")) {
      settings.push_back(absl::StrCat("OMPI_MCA_btl_vader_backing_directory=", memory->path(), "/", kLaunchFolder));
    }
    return settings;
  }
  // What the processes of the last start left is of no use to the next.
  void begin() const {
    folder->fresh(kLaunchFolder).status().IgnoreError();
    if (memory != nullptr) memory->fresh(kLaunchFolder).status().IgnoreError();
  }
};

}  // namespace

absl::StatusOr<std::string> worker_program() {
  if (const char* override_path = std::getenv("CONCLAVE_WORKER"); override_path != nullptr) return std::string(override_path);
  const fs::path worker = own_libexec() / "conclave-worker";
  if (::access(worker.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(worker.string(), ": the worker program is not there; build or install it, or set CONCLAVE_WORKER"));
  }
  return worker.string();
}

std::unique_ptr<coordinator::GroupLauncher> make_launcher(const GroupOptions& o, const std::string& address,
                                                          std::shared_ptr<RunFolder> folder,
                                                          std::function<void(const std::string&)> keep_line) {
  const std::string transport = resolved_transport(o);
  coordinator::ProcessLauncherOptions options;
  options.keep_line = std::move(keep_line);
  std::vector<std::string> settings;
  Traces traces{std::move(folder), nullptr};
  const bool one_host = transport == "mpi" && is_one_host(address);
  if (transport == "mpi") {
    settings = mpi_environment();
    options.cannot_execute_advice = "install Open MPI, name its mpirun with --mpirun, or run without it: --ranks 1 --transport local";
  }
  if (one_host) {
    for (std::string& setting : one_host_environment(o.mpi_args)) settings.push_back(std::move(setting));
    if (auto memory = RunFolder::create(kSharedMemory); memory.ok()) traces.memory = *std::move(memory);
    options.environment = traces.environment();
    for (std::string& setting : preload_for(o.mpirun)) options.environment.push_back(std::move(setting));
  }
  for (std::string& setting : settings) {
    // An operator's own setting wins.
    if (!is_set(setting.substr(0, setting.find('=')))) options.environment.push_back(std::move(setting));
  }
  options.command = [o, transport, traces, one_host](const coordinator::LaunchSpec& spec) {
    if (one_host) traces.begin();
    return command_line(o, transport, spec);
  };
  return coordinator::make_process_launcher(std::move(options));
}

absl::StatusOr<std::shared_ptr<RunFolder>> make_run_folder() {
  ASSIGN_OR_RETURN(const std::string base, coordinator::temporary_base());
  return RunFolder::create(base);
}

absl::StatusOr<std::unique_ptr<coordinator::GroupTransport>> make_offline_transport(const GroupOptions& o) {
  if (resolved_transport(o) == "local") return make_thread_transport(o);
  RETURN_IF_ERROR(worker_program().status());
  coordinator::ListenOptions listen;
  listen.ranks = o.ranks;
  ASSIGN_OR_RETURN(listen.folder, make_run_folder());
  auto launcher = make_launcher(o, listen.address, listen.folder);
  ASSIGN_OR_RETURN(std::unique_ptr<coordinator::ListeningTransport> transport,
                   coordinator::ListeningTransport::create(std::move(listen), std::move(launcher)));
  return std::unique_ptr<coordinator::GroupTransport>(std::move(transport));
}

}  // namespace conclave::cli
