#include <CLI/CLI.hpp>
#include <cstring>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/offline_engine.h"
#include "model/safetensors.h"

namespace conclave::cli {
namespace {

struct LogitsOptions {
  GroupOptions group;
  std::string ids;
  std::string out;
};

absl::StatusOr<std::vector<int32_t>> parse_ids(const std::string& text, int32_t vocab) {
  std::vector<int32_t> ids;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    char* end = nullptr;
    const long value = std::strtol(word.c_str(), &end, 10);
    if (end == word.c_str() || *end != '\0' || value < 0 || value >= vocab) {
      return absl::InvalidArgumentError(
          absl::StrCat("--ids: \"", word, "\" is no token id of this model (0 to ", vocab - 1, ")"));
    }
    ids.push_back(static_cast<int32_t>(value));
  }
  if (ids.empty()) return absl::InvalidArgumentError("--ids is empty; give token ids separated by commas");
  return ids;
}

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span<const T>(values));
}

absl::Status logits(LogitsOptions o) {
  RETURN_IF_ERROR(prepare(&o.group));
  ASSIGN_OR_RETURN(const model::ModelDescription description, model::read_model_description(o.group.model));
  const model::ModelSpec& spec = description.spec;
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, parse_ids(o.ids, spec.vocab));
  ASSIGN_OR_RETURN(const auto engine, OfflineEngine::start(o.group, false));
  coordinator::GenerationRequest request;
  request.request_id = "logits";
  request.prompt = ids;
  request.max_tokens = 0;
  request.want_logits = true;
  request.want_routing = true;
  ASSIGN_OR_RETURN(const Generation result, engine->run(std::move(request)));

  const size_t tokens = ids.size(), vocab = static_cast<size_t>(spec.vocab), k = static_cast<size_t>(spec.top_k);
  const std::vector<int32_t> layers = spec.moe_layers();
  std::vector<float> rows(tokens * vocab);
  std::vector<std::vector<int32_t>> routing(layers.size(), std::vector<int32_t>(tokens * k));
  size_t seen = 0;
  for (const coordinator::PromptPart& part : result.prompt) {
    const size_t n = static_cast<size_t>(part.rows), start = static_cast<size_t>(part.start);
    if (start + n > tokens || part.logits.size() != n * vocab || part.routing.size() != layers.size() * n * k) {
      return absl::InternalError("a worker reported logits of the wrong size");
    }
    std::memcpy(&rows[start * vocab], part.logits.data(), part.logits.size() * sizeof(float));
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      std::memcpy(&routing[layer][start * k], &part.routing[layer * n * k], n * k * sizeof(int32_t));
    }
    seen += n;
  }
  if (seen != tokens) return absl::InternalError(absl::StrCat("got logits of ", seen, " of ", tokens, " tokens"));
  const int64_t t = static_cast<int64_t>(tokens);
  std::vector<model::TensorToWrite> tensors{{"logits", "F32", {t, spec.vocab}, bytes_of(rows)}};
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    tensors.push_back({absl::StrCat("router.", layers[layer], ".ids"), "I32", {t, spec.top_k}, bytes_of(routing[layer])});
  }
  return model::write_safetensors(o.out, tensors);
}

}  // namespace

void add_logits_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand("logits", "Write the logits and the routing of a token sequence to a file");
  command->footer("OUT holds `logits` F32 [tokens, vocabulary] and, per MoE layer, `router.LAYER.ids` I32 [tokens, k],\n"
                  "sorted by expert. The bytes do not depend on ranks, threads or transport.\n\n" +
                  std::string(kExitCodeHelp));
  add_group_flags(*command, &o->group);
  command->add_option("--ids", o->ids, "token ids, separated by commas")->required();
  command->add_option("--out", o->out, "safetensors file to write")->required();
  command->callback([o, exit_code] { *exit_code = report(logits(*o)); });
}

}  // namespace conclave::cli
