#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/exit_codes.h"
#include "cli/offline_engine.h"
#include "coordinator/chat_template/chat_template.h"
#include "coordinator/chat_template/chat_variables.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::cli {
namespace {

struct GenerateOptions {
  GroupOptions group;
  std::string prompt;
  std::string chat;
  int32_t max_tokens = 128;
  double temperature = 0;
  double top_p = 1;
  int32_t top_k = 0;
  int64_t seed = -1;
  bool ignore_eos = false;
  std::string output = "text";
};

absl::StatusOr<std::vector<int32_t>> prompt_ids(const GenerateOptions& o, const coordinator::Tokenizer& tokenizer) {
  if (o.chat.empty()) return tokenizer.encode(o.prompt, /*add_special_tokens=*/true);
  ASSIGN_OR_RETURN(const auto chat_template, coordinator::ChatTemplate::from_folder(o.group.model));
  for (const std::string& warning : chat_template->warnings()) log_warning(warning);
  coordinator::ChatVariables chat;
  chat.messages = nlohmann::ordered_json::array({{{"role", "user"}, {"content", o.chat}}});
  chat.special_tokens = tokenizer.special_tokens();
  ASSIGN_OR_RETURN(const auto variables, coordinator::chat_variables(std::move(chat)));
  ASSIGN_OR_RETURN(const std::string text, chat_template->render(variables));
  return tokenizer.encode(text, /*add_special_tokens=*/false);
}

coordinator::GenerationRequest make_request(const GenerateOptions& o, std::vector<int32_t> ids) {
  coordinator::GenerationRequest request;
  request.request_id = "generate";
  request.prompt = std::move(ids);
  request.max_tokens = o.max_tokens;
  request.ignore_eos = o.ignore_eos;
  request.sampling.temperature = static_cast<float>(o.temperature);
  request.sampling.top_p = static_cast<float>(o.top_p);
  request.sampling.top_k = o.top_k;
  request.sampling.seed = o.seed >= 0 ? static_cast<uint64_t>(o.seed) : std::random_device{}();
  return request;
}

absl::Status generate(GenerateOptions o) {
  if (o.prompt.empty() == o.chat.empty()) {
    return absl::InvalidArgumentError("give either --prompt TEXT or --chat TEXT");
  }
  RETURN_IF_ERROR(prepare(&o.group));
  ASSIGN_OR_RETURN(const auto tokenizer, coordinator::Tokenizer::from_folder(o.group.model));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, prompt_ids(o, *tokenizer));
  if (ids.empty()) return absl::InvalidArgumentError("the prompt has no tokens; give some text");
  ASSIGN_OR_RETURN(const auto engine, OfflineEngine::start(o.group, ::isatty(STDERR_FILENO) != 0));
  const bool text_output = o.output == "text";
  coordinator::DetokenizerStream stream(tokenizer, /*skip_special_tokens=*/true);
  stream.set_context(ids);
  const auto request = make_request(o, ids);
  const uint64_t seed = request.sampling.seed;
  std::string text;
  const auto print = [&](const std::string& piece) {
    text += piece;
    if (!text_output) return;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  ASSIGN_OR_RETURN(const Generation result, engine->run(request, [&](const coordinator::GeneratedToken& token) {
    print(stream.append(token.id));
  }));
  print(stream.finish());
  if (text_output) {
    std::fputc('\n', stdout);
    return absl::OkStatus();
  }
  nlohmann::ordered_json json{{"prompt_ids", ids}, {"ids", nlohmann::json::array()}, {"text", text}, {"seed", seed}};
  for (const auto& token : result.tokens) json["ids"].push_back(token.id);
  json["finish_reason"] = result.end.reason == coordinator::FinishReason::kStop ? "stop" : "length";
  std::puts(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  return absl::OkStatus();
}

}  // namespace

void add_generate_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Run a prompt through a model and print the text as it comes");
  command->footer(std::string(kExitCodeHelp));
  add_config_flag(*command);
  add_group_flags(*command, &o->group);
  command->add_option("-p,--prompt", o->prompt, "text to continue");
  command->add_option("-c,--chat", o->chat, "a user's message, put into the model's chat template");
  command->add_option("-n,--max-tokens", o->max_tokens, "most tokens to generate")->check(CLI::Range(1, 1 << 24));
  command->add_option("--temperature", o->temperature, "0: greedy")->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-p", o->top_p, "nucleus sampling")->check(CLI::Range(0.0, 1.0));
  command->add_option("--top-k", o->top_k, "0: off")->check(CLI::Range(0, 1 << 24));
  command->add_option("--seed", o->seed, "random seed; default: drawn");
  command->add_flag("--ignore-eos", o->ignore_eos, "go on after an end-of-text token");
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(generate(*o)); });
}

}  // namespace conclave::cli
