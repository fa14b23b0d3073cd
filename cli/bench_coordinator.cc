#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "bench/echo_ranks.h"
#include "cli/bench_commands.h"
#include "cli/exit_codes.h"
#include "cli/load_report.h"
#include "comm/channel/tcp_channel.h"
#include "coordinator/http/client/http_client.h"
#include "model/model_folder.h"
#include "model/model_spec.h"

namespace conclave::cli {
namespace {

struct BenchCoordinatorOptions {
  std::string model;
  bench::LoadOptions load;
  std::string output = "text";
};

// A real `conclave coordinator` process, without ranks of its own.
class CoordinatorProcess {
 public:
  static absl::StatusOr<std::unique_ptr<CoordinatorProcess>> start(const std::string& model) {
    auto process = std::unique_ptr<CoordinatorProcess>(new CoordinatorProcess());
    char folder[] = "/tmp/conclave-bench-XXXXXX";
    if (::mkdtemp(folder) == nullptr) return absl::UnavailableError("cannot make a folder in /tmp");
    process->folder_ = folder;
    process->secret = comm::make_group_secret();
    RETURN_IF_ERROR(write_file_atomically(process->path("secret"), process->secret, 0600));
    std::error_code error;
    const std::string self = std::filesystem::read_symlink("/proc/self/exe", error).string();
    const std::vector<std::string> words = {self, "coordinator", "--model", model, "--ranks", "1", "--no-launch", "--port", "0",
                                            "--admin-port", "0", "--worker-port", "0", "--secret-file", process->path("secret"),
                                            "--endpoint-file", process->path("endpoint"), "--worker-endpoint-file",
                                            process->path("workers"), "--log-level", "warning", "--max-running", "4096"};
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    process->pid_ = ::fork();
    if (process->pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::execv(self.c_str(), argv.data());
      ::_exit(127);
    }
    return process;
  }
  ~CoordinatorProcess() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    std::error_code error;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
  }

  absl::StatusOr<std::string> wait_for_line(const std::string& name) const {
    for (int i = 0; i < 1000; ++i) {
      const absl::StatusOr<std::string> text = read_file(path(name), 4096);
      if (text.ok() && !text->empty()) return text->substr(0, text->find('\n'));
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return absl::UnavailableError("the coordinator did not start");
  }
  // User and system time of all its threads.
  double cpu_seconds() const {
    std::ifstream in(absl::StrCat("/proc/", pid_, "/stat"));
    std::string text{std::istreambuf_iterator<char>(in), {}};
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skip;
    for (int i = 0; i < 11; ++i) fields >> skip;
    double user = 0, system = 0;
    fields >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

  std::string secret;

 private:
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string folder_;
  pid_t pid_ = -1;
};

absl::Status wait_until_ready(coordinator::HttpClient& client) {
  for (int i = 0; i < 500; ++i) {
    if (client.call("GET", "/ready").status == 200) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return absl::UnavailableError("the coordinator was not ready within 10 s");
}

absl::Status run(BenchCoordinatorOptions o) {
  ASSIGN_OR_RETURN(o.model, model::resolve_model_folder(o.model));
  ASSIGN_OR_RETURN(const auto description, model::read_model_description(o.model));
  std::unique_ptr<bench::EchoRank> rank;  // outlives the coordinator, which would report its loss
  ASSIGN_OR_RETURN(const auto process, CoordinatorProcess::start(o.model));
  ASSIGN_OR_RETURN(const std::string url, process->wait_for_line("endpoint"));
  ASSIGN_OR_RETURN(const std::string workers, process->wait_for_line("workers"));
  const size_t colon = workers.rfind(':');
  if (colon == std::string::npos) return absl::InternalError("the coordinator wrote no worker address");
  const auto port = static_cast<uint16_t>(std::atoi(workers.c_str() + colon + 1));
  ASSIGN_OR_RETURN(rank, bench::EchoRank::join("127.0.0.1", port, process->secret, description.spec.vocab));
  coordinator::HttpClient::Options options;
  ASSIGN_OR_RETURN(options.endpoint, coordinator::parse_http_endpoint(url));
  const auto client = coordinator::HttpClient::create(options);
  RETURN_IF_ERROR(wait_until_ready(*client));
  const auto models = nlohmann::json::parse(client->call("GET", "/v1/models").body, nullptr, false);
  o.load.model = models.is_object() && !models["data"].empty() ? models["data"][0].value("id", "") : "";
  o.load.max_token_id = std::min(o.load.max_token_id, description.spec.vocab);

  bench::LoadOptions warm = o.load;
  warm.requests = o.load.concurrency;
  RETURN_IF_ERROR(bench::run_load(*client, warm).status());
  const double before = process->cpu_seconds();
  ASSIGN_OR_RETURN(const bench::LoadResult result, bench::run_load(*client, o.load));
  const double cpu = process->cpu_seconds() - before;
  const bench::LoadSummary summary = bench::summarize(result);
  const double us_per_token = 1e6 * cpu / static_cast<double>(std::max<int64_t>(1, summary.output_tokens));
  if (o.output == "json") {
    auto json = load_json(o.load, summary);
    json["coordinator_cpu_seconds"] = cpu;
    json["coordinator_cpu_us_per_token"] = us_per_token;
    std::puts(json.dump(2).c_str());
    return absl::OkStatus();
  }
  print_load(o.load, summary);
  std::printf("coordinator: %.3f CPU seconds for %lld tokens = %.1f us per token\n", cpu,
              static_cast<long long>(summary.output_tokens), us_per_token);
  return absl::OkStatus();
}

}  // namespace

void add_bench_coordinator_command(CLI::App& parent, int* exit_code) {
  auto o = std::make_shared<BenchCoordinatorOptions>();
  o->load.requests = 512;
  o->load.concurrency = 64;
  o->load.prompt_tokens = 32;
  o->load.output_tokens = 128;
  CLI::App* command = parent.add_subcommand("coordinator", "CPU time of a coordinator process per token, with a rank that answers at once");
  command->footer("The model folder gives tokenizer and vocabulary; its weights are not loaded. The load generator and the\n"
                  "answering rank run in this process, the coordinator in one of its own.\n\n" + std::string(kExitCodeHelp));
  command->add_option("-m,--model", o->model, "model folder")->required();
  command->add_option("--requests", o->load.requests, "requests in all")->check(CLI::Range(1, 1000000));
  command->add_option("--concurrency", o->load.concurrency, "streams at once")->check(CLI::Range(1, 10000));
  command->add_option("--prompt-tokens", o->load.prompt_tokens, "tokens of each prompt")->check(CLI::Range(1, 1 << 16));
  command->add_option("--output-tokens", o->load.output_tokens, "tokens of each answer")->check(CLI::Range(1, 1 << 16));
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(run(*o)); });
}

}  // namespace conclave::cli
