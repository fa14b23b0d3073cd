#include "coordinator/openai/serving_context.h"

#include <ctime>
#include <utility>

#include "base/log.h"
#include "coordinator/chat_template/chat_variables.h"
#include "coordinator/openai/encode_text.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kMaxRemembered = 256;
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kShortFingerprint = 8;

}  // namespace

bool SeenTexts::note(const std::string& text) const {
  std::lock_guard lock(mutex_);
  return seen_.size() < kMaxRemembered && seen_.insert(text).second;
}

void UnknownFieldLog::note(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::string shortened = name.substr(0, kMaxNameBytes);
    if (!seen_.note(shortened)) continue;
    log_warning("a request field is unknown and has no effect (said once per name)",
                {{"field", shortened}});
  }
}

std::string system_fingerprint(const EngineStatus& status) {
  return "fp_" + status.kernel_set + "_" + status.compute + "_" +
         status.model_fingerprint.substr(0, kShortFingerprint);
}

std::optional<ApiError> check_model(const ServingContext& context, const std::string& name) {
  if (name.empty() || name == context.model_name) return std::nullopt;
  ApiError error =
      bad_request("The model '" + name.substr(0, 256) +
                      "' does not exist here; this server serves '" + context.model_name + "'.",
                  "model", "model_not_found");
  error.status = 404;
  return error;
}

std::optional<ApiError> check_token_ids(const ServingContext& context,
                                        const std::vector<int32_t>& ids, const std::string& param) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < context.vocab_size) continue;
    const std::string where = param + "[" + std::to_string(i) + "]";
    return bad_request("'" + where + "' is " + std::to_string(ids[i]) +
                           ", but the model's vocabulary ends at " +
                           std::to_string(context.vocab_size - 1) + ".",
                       where, "invalid_value");
  }
  return std::nullopt;
}

std::optional<ApiError> check_text_ids(const ServingContext& context,
                                       const std::vector<int32_t>& ids, const std::string& param) {
  for (const int32_t id : ids) {
    if (id < context.vocab_size) continue;
    return bad_request("'" + param + "' holds \"" + context.tokenizer->token_string(id) +
                           "\", token " + std::to_string(id) +
                           " of the tokenizer, but the model's vocabulary ends at " +
                           std::to_string(context.vocab_size - 1) + ".",
                       param, "invalid_value");
  }
  return std::nullopt;
}

std::optional<ApiError> check_template_fields(const ServingContext& context,
                                              const ChatPrompt& prompt) {
  if (!prompt.reasoning_effort.has_value() || context.chat_template == nullptr) return std::nullopt;
  for (const char* name : {"reasoning_effort", "enable_thinking"}) {
    if (context.chat_template->uses_variable(name)) return std::nullopt;
  }
  return bad_request("'reasoning_effort' cannot be obeyed: the model's chat template reads neither "
                     "reasoning_effort nor enable_thinking; leave it out.",
                     "reasoning_effort", "unsupported_parameter");
}

std::optional<ApiError> encode_chat(const ServingContext& context, const ChatPrompt& prompt,
                                    const EncodeLimits& limits, std::vector<int32_t>* ids) {
  if (context.chat_template == nullptr) {
    return bad_request("The model has no chat template; use /v1/completions.", "messages",
                       "unsupported_value");
  }
  ChatVariables chat{.messages = prompt.messages,
                     .knows_developer = context.chat_template->mentions("developer"),
                     .add_generation_prompt = prompt.add_generation_prompt,
                     .special_tokens = context.tokenizer->special_tokens(),
                     .reasoning_effort = prompt.reasoning_effort,
                     .arguments = prompt.template_arguments};
  if (context.chat_template->takes_content_parts()) chat.content_parts = prompt.content_parts;
  const auto variables = chat_variables(std::move(chat));
  if (!variables.ok()) return bad_request(std::string(variables.status().message()), "messages", "invalid_value");
  const auto text = context.chat_template->render(*variables);
  if (absl::IsInvalidArgument(text.status())) {
    return bad_request("The chat template refused the messages: " + std::string(text.status().message()),
                       "messages", "invalid_value");
  }
  if (!text.ok()) {
    const std::string fault(text.status().message());
    if (context.template_faults.note(fault)) log_error("the chat template failed (said once per fault)", {{"error", fault}});
    return bad_request("The model's chat template failed: " + fault, std::nullopt, "chat_template_error");
  }
  return encode_text(*context.tokenizer, *text, prompt.add_special_tokens, limits, "messages", ids);
}

int64_t unix_seconds() { return static_cast<int64_t>(std::time(nullptr)); }

}  // namespace conclave::coordinator
