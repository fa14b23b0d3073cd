#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/offline_engine.h"
#include "cli/progress_bar.h"
#include "model/safetensors.h"

namespace conclave::cli {
namespace {

struct EvalOptions {
  GroupOptions group;
  std::string tokens;
  std::string output = "text";
  int32_t limit = 0;
  int32_t in_flight = 16;
};

// Sequences of a trace file: token_id I32 [n], sequence I32 [n] (runs of one number), domain U8 [n] (optional).
struct Trace {
  std::vector<std::vector<int32_t>> sequences;
  std::vector<std::string> domain;  // of each sequence; empty without names
};

absl::StatusOr<std::span<const std::byte>> column(const model::SafetensorsFile& file, const std::string& name,
                                                  const std::string& dtype) {
  const auto it = file.header().tensors.find(name);
  if (it == file.header().tensors.end()) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor \"", name, "\" is missing; expected a trace file"));
  }
  if (it->second.dtype != dtype || it->second.shape.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor \"", name, "\" must be ", dtype, " [tokens]"));
  }
  return file.data(it->second);
}

absl::StatusOr<Trace> read_trace(const std::string& path, int32_t vocab, int32_t limit) {
  ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::open(path));
  ASSIGN_OR_RETURN(const auto tokens, column(*file, "token_id", "I32"));
  ASSIGN_OR_RETURN(const auto numbers, column(*file, "sequence", "I32"));
  const size_t count = tokens.size() / 4;
  if (numbers.size() != tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": \"sequence\" and \"token_id\" differ in length"));
  }
  std::span<const std::byte> domains;
  std::vector<std::string> names;
  if (file->header().tensors.contains("domain") && file->header().metadata.contains("domains")) {
    ASSIGN_OR_RETURN(domains, column(*file, "domain", "U8"));
    const auto list = nlohmann::json::parse(file->header().metadata.at("domains"), nullptr, false);
    if (list.is_array()) {
      for (const auto& name : list) names.push_back(name.is_string() ? name.get<std::string>() : "?");
    }
  }
  Trace trace;
  int32_t last = 0;
  for (size_t i = 0; i < count; ++i) {
    int32_t id = 0, number = 0;
    std::memcpy(&id, tokens.data() + 4 * i, 4);
    std::memcpy(&number, numbers.data() + 4 * i, 4);
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": token ", i, " is ", id, ", the model has ", vocab, " tokens"));
    }
    if (i == 0 || number != last) {
      if (limit > 0 && trace.sequences.size() == static_cast<size_t>(limit)) break;
      trace.sequences.emplace_back();
      const size_t domain = i < domains.size() ? static_cast<size_t>(domains[i]) : names.size();
      trace.domain.push_back(domain < names.size() ? names[domain] : "");
    }
    last = number;
    trace.sequences.back().push_back(id);
  }
  if (trace.sequences.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": holds no tokens"));
  return trace;
}

struct Sum {
  double nats = 0;
  int64_t tokens = 0;
  double mean() const { return tokens > 0 ? nats / static_cast<double>(tokens) : 0.0; }
};

void print_losses(const Sum& all, const std::map<std::string, Sum>& domains, bool json_output) {
  if (!json_output) {
    for (const auto& [name, sum] : domains) std::printf("%-16s %.5f nats/token (%lld tokens)\n", name.c_str(), sum.mean(), static_cast<long long>(sum.tokens));
    std::printf("%-16s %.5f nats/token (%lld tokens)\n", "mean", all.mean(), static_cast<long long>(all.tokens));
    return;
  }
  nlohmann::ordered_json out{{"mean", all.mean()}, {"tokens", all.tokens}, {"domains", nlohmann::ordered_json::object()}};
  for (const auto& [name, sum] : domains) out["domains"][name] = sum.mean();
  std::puts(out.dump(2).c_str());
}

absl::Status eval(EvalOptions o) {
  RETURN_IF_ERROR(prepare(&o.group));
  ASSIGN_OR_RETURN(const auto description, model::read_model_description(o.group.model));
  ASSIGN_OR_RETURN(const Trace trace, read_trace(o.tokens, description.spec.vocab, o.limit));
  const bool progress = ::isatty(STDERR_FILENO) != 0;
  ASSIGN_OR_RETURN(const auto engine, OfflineEngine::start(o.group, progress));
  std::vector<coordinator::GenerationRequest> requests(trace.sequences.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].request_id = absl::StrCat("eval-", i);
    requests[i].prompt = trace.sequences[i];
    requests[i].max_tokens = 0;
    requests[i].prompt_top_logprobs = 0;
  }
  ProgressBar bar("evaluating sequences", progress);
  ASSIGN_OR_RETURN(const std::vector<Generation> results,
                   engine->run_all(std::move(requests), o.in_flight, [&](size_t done) { bar.update(done, trace.sequences.size()); }));
  bar.finish();
  Sum all;
  std::map<std::string, Sum> domains;
  for (size_t i = 0; i < results.size(); ++i) {
    Sum sum;
    for (const auto& part : results[i].prompt) {
      for (const auto& item : part.logprobs) {
        sum.nats -= item.target.logprob;
        ++sum.tokens;
      }
    }
    if (sum.tokens != static_cast<int64_t>(trace.sequences[i].size()) - 1) {
      return absl::InternalError(absl::StrCat("sequence ", i, ": got ", sum.tokens, " log-probabilities for ", trace.sequences[i].size(), " tokens"));
    }
    for (Sum* target : {&all, trace.domain[i].empty() ? nullptr : &domains[trace.domain[i]]}) {
      if (target == nullptr) continue;
      target->nats += sum.nats;
      target->tokens += sum.tokens;
    }
  }
  print_losses(all, domains, o.output == "json");
  return absl::OkStatus();
}

}  // namespace

void add_eval_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Cross-entropy (nats/token) of a model on the sequences of a trace file");
  command->footer("Each sequence of the file is scored by itself, without an added first token: n tokens give n - 1 terms.\n\n" +
                  std::string(kExitCodeHelp));
  add_group_flags(*command, &o->group);
  command->add_option("--tokens", o->tokens, "safetensors file with token_id, sequence and optionally domain")->required();
  command->add_option("--limit", o->limit, "only the first sequences; 0: all")->check(CLI::Range(0, 1 << 30));
  command->add_option("--in-flight", o->in_flight, "sequences at once")->check(CLI::Range(1, 1024));
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(eval(*o)); });
}

}  // namespace conclave::cli
