#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "cli/bench_commands.h"
#include "cli/exit_codes.h"
#include "cli/load_report.h"
#include "coordinator/http/api_key_file.h"
#include "coordinator/http/client/http_client.h"

namespace conclave::cli {
namespace {

struct BenchServeOptions {
  std::string endpoint = "http://127.0.0.1:8000";
  std::string api_key_file;
  bench::LoadOptions load;
  std::string output = "text";
};

absl::StatusOr<std::string> served_model(coordinator::HttpClient& client) {
  const auto answer = client.call("GET", "/v1/models");
  RETURN_IF_ERROR(answer.error);
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !json.is_object() || !json.contains("data") || json["data"].empty()) {
    return absl::UnavailableError("the endpoint lists no model; give --model, and --api-key-file if it wants a key");
  }
  return json["data"][0].value("id", std::string());
}

absl::Status run(BenchServeOptions o) {
  coordinator::HttpClient::Options options;
  ASSIGN_OR_RETURN(options.endpoint, coordinator::parse_http_endpoint(o.endpoint));
  if (!o.api_key_file.empty()) {
    ASSIGN_OR_RETURN(options.api_key, coordinator::first_api_key(o.api_key_file));
  }
  const auto client = coordinator::HttpClient::create(options);
  if (o.load.model.empty()) {
    ASSIGN_OR_RETURN(o.load.model, served_model(*client));
  }
  ASSIGN_OR_RETURN(const bench::LoadResult result, bench::run_load(*client, o.load));
  const bench::LoadSummary summary = bench::summarize(result);
  if (o.output == "json") {
    std::puts(load_json(o.load, summary).dump(2).c_str());
  } else {
    print_load(o.load, summary);
  }
  return absl::OkStatus();
}

}  // namespace

void add_bench_serve_command(CLI::App& parent, int* exit_code) {
  auto o = std::make_shared<BenchServeOptions>();
  CLI::App* command = parent.add_subcommand("serve", "Load on a running API: TTFT, TPOT, ITL and end-to-end percentiles");
  command->footer("Prompts are random token ids, outputs have exactly the length asked for (ignore_eos).\n"
                  "TPOT is (end to end - TTFT) / (output tokens - 1) of each request, ITL the gaps between events.\n\n" +
                  std::string(kExitCodeHelp));
  command->add_option("--endpoint", o->endpoint, "http://HOST:PORT of the API")->envname("CONCLAVE_ENDPOINT");
  command->add_option("--api-key-file", o->api_key_file, "file with the API key")->envname("CONCLAVE_API_KEY_FILE");
  command->add_option("--model", o->load.model, "served model; default: the first that is listed");
  command->add_option("--requests", o->load.requests, "requests in all")->check(CLI::Range(1, 10000000));
  command->add_option("--concurrency", o->load.concurrency, "closed loop: requests at once")->check(CLI::Range(1, 100000));
  command->add_option("--rate", o->load.rate, "open loop: requests per second, Poisson; 0: closed loop")->check(CLI::Range(0.0, 1e6));
  command->add_option("--prompt-tokens", o->load.prompt_tokens, "tokens of each prompt")->check(CLI::Range(1, 1 << 20));
  command->add_option("--output-tokens", o->load.output_tokens, "tokens of each answer")->check(CLI::Range(1, 1 << 20));
  command->add_option("--max-token-id", o->load.max_token_id, "prompt ids are below this")->check(CLI::Range(1, 1 << 24));
  command->add_option("--seed", o->load.seed, "of prompts and arrivals");
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(run(*o)); });
}

}  // namespace conclave::cli
