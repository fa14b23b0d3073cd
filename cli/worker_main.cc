// conclave-worker: the ranks of a worker group. The only program with MPI.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/exit_codes.h"
#include "cli/kernel_sets.h"
#include "comm/channel/tcp_channel.h"
#include "comm/local/local_communicator.h"
#include "worker/worker.h"
#ifdef CONCLAVE_WITH_MPI
#include "comm/mpi/mpi_communicator.h"
#include "comm/mpi/mpi_runtime.h"
#endif

namespace conclave::cli {
namespace {

struct WorkerOptions {
  std::string coordinator;  // host:port
  std::string secret_file;
  uint32_t group = 0;
  int32_t ranks = 1;
  std::string transport = "local";
  std::string device = "auto";
  int32_t connect_timeout_ms = 30000;
  std::string log_level = "info";
  std::string log_format = "text";
};

struct Endpoint {
  std::string host;
  uint16_t port = 0;
};

absl::StatusOr<Endpoint> parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  const int port = colon == std::string::npos ? 0 : std::atoi(text.c_str() + colon + 1);
  if (colon == 0 || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("--coordinator is \"", text, "\", expected HOST:PORT"));
  }
  return Endpoint{without_brackets(text.substr(0, colon)), static_cast<uint16_t>(port)};
}

absl::StatusOr<std::string> read_secret(const std::string& path) {
  RETURN_IF_ERROR(check_private(path));
  ASSIGN_OR_RETURN(std::string secret, read_file(path, 4096));
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  if (secret.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": the group's secret is empty"));
  return secret;
}

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

// The ranks of this host, and which of them this one is.
struct Neighbours {
  int ranks = 1;
  int index = 0;
};

// One rank on one communicator: connect, serve, report.
absl::Status serve_rank(const WorkerOptions& o, comm::Communicator& communicator, const Neighbours& neighbours,
                        std::function<void(absl::Status)> on_fatal) {
  ASSIGN_OR_RETURN(const Endpoint endpoint, parse_endpoint(o.coordinator));
  ASSIGN_OR_RETURN(const std::string secret, read_secret(o.secret_file));
  ASSIGN_OR_RETURN(const auto channel, comm::connect_channel(endpoint.host, endpoint.port, secret,
                                                             Deadline::after_ms(o.connect_timeout_ms)));
  const auto kernel_sets = make_kernel_set_factory(o.device, neighbours.ranks);
  worker::WorkerEnvironment environment;
  environment.group = o.group;
  environment.communicator = &communicator;
  environment.channel = channel.get();
  environment.kernels = kernel_sets.get();
  environment.host = host_name();
  environment.ranks_on_host = neighbours.ranks;
  environment.rank_on_host = neighbours.index;
  environment.on_fatal = std::move(on_fatal);
  return worker::run_worker(environment);
}

absl::Status run_local(const WorkerOptions& o) {
  auto communicators = comm::make_local_communicators(o.ranks);
  std::vector<absl::Status> results(communicators.size());
  std::vector<std::thread> threads;
  const auto die = [](absl::Status status) {
    log_error(std::string(status.message()));
    std::_Exit(kExitFailure);
  };
  for (size_t rank = 0; rank < communicators.size(); ++rank) {
    threads.emplace_back([&, rank] {
      results[rank] = serve_rank(o, *communicators[rank], {o.ranks, static_cast<int>(rank)}, die);
      // The group is one failure domain: the others would only wait for their deadlines.
      if (!results[rank].ok()) die(results[rank]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return absl::OkStatus();
}

#ifdef CONCLAVE_WITH_MPI
absl::Status run_mpi(const WorkerOptions& o, int* argc, char*** argv) {
  ASSIGN_OR_RETURN(const auto runtime, comm::MpiRuntime::create(argc, argv));
  if (runtime->size() != o.ranks) {
    log_error(absl::StrCat("--ranks is ", o.ranks, ", but MPI started ", runtime->size(), " ranks; start as many as you name"));
    comm::MpiRuntime::abort(kExitUsage);
  }
  auto communicator = comm::make_mpi_communicator(*runtime, Deadline::after_ms(o.connect_timeout_ms));
  if (!communicator.ok()) {
    log_error(std::string(communicator.status().message()));
    comm::MpiRuntime::abort(kExitFailure);
  }
  Neighbours neighbours{0, 0};
  for (int rank = 0; rank < runtime->size(); ++rank) {
    if ((*communicator)->host(rank) != (*communicator)->host(runtime->rank())) continue;
    if (rank < runtime->rank()) ++neighbours.index;
    ++neighbours.ranks;
  }
  const absl::Status status = serve_rank(o, **communicator, neighbours, [](absl::Status fatal) {
    log_error(std::string(fatal.message()));
    std::_Exit(kExitFailure);  // the health thread must not wait for MPI; mpirun ends the others
  });
  if (!status.ok()) {
    log_error(std::string(status.message()));
    std::_Exit(kExitFailure);
  }
  return absl::OkStatus();
}
#endif

absl::Status run(const WorkerOptions& o, int* argc, char*** argv) {
  if (o.transport == "local") return run_local(o);
#ifdef CONCLAVE_WITH_MPI
  return run_mpi(o, argc, argv);
#else
  (void)argc, (void)argv;
  return absl::UnimplementedError("this build has no MPI; install Open MPI and build again, or use --transport local");
#endif
}

}  // namespace
}  // namespace conclave::cli

int main(int argc, char** argv) {
  using namespace conclave;
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);  // there is nothing to reload; the coordinator says when to end
  cli::WorkerOptions options;
  CLI::App app{"The ranks of a Conclave worker group; started by the coordinator, or by mpirun or srun to join one"};
  app.name("conclave-worker");
  app.footer(std::string(cli::kExitCodeHelp));
  app.set_version_flag("--version", std::string("conclave-worker ") + kVersion);
  app.option_defaults()->always_capture_default();
  app.add_option("--coordinator", options.coordinator, "HOST:PORT of the coordinator's worker listener")
      ->required()->envname("CONCLAVE_COORDINATOR");
  app.add_option("--secret-file", options.secret_file, "file (mode 0600) with the group's secret")
      ->required()->envname("CONCLAVE_SECRET_FILE");
  app.add_option("--group", options.group, "number of the group");
  app.add_option("-r,--ranks", options.ranks, "ranks of the group")->check(CLI::Range(1, 65536));
  app.add_option("--transport", options.transport, "mpi, or local: ranks are threads of this process")
      ->check(CLI::IsMember({"local", "mpi"}));
  app.add_option("--device", options.device, cli::kDeviceHelp)->envname("CONCLAVE_DEVICE")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--connect-timeout-ms", options.connect_timeout_ms, "how long to try to reach the coordinator");
  app.add_option("--log-level", options.log_level, "debug, info, warning or error")->envname("CONCLAVE_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-format", options.log_format, "text or json")->envname("CONCLAVE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? cli::kExitOk : cli::kExitUsage;
  }
  set_log_component("worker");
  set_log_level(parse_log_level(options.log_level).value_or(LogLevel::kInfo));
  set_log_format(options.log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  return cli::report(cli::run(options, &argc, &argv));
}
