#include "coordinator/openai/generation_plan.h"

#include <algorithm>
#include <span>
#include <utility>

#include "coordinator/openai/encode_text.h"
#include "coordinator/openai/logprob_store.h"
#include "coordinator/openai/special_stops.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kDefaultCompletionTokens = 16;

// A prompt and how many tokens may follow it.
struct SizedPrompt {
  std::vector<int32_t> ids;
  int32_t max_tokens = 0;
};

ApiError too_long(int64_t context_tokens, int64_t prompt_tokens, int64_t completion_tokens,
                  const std::string& param) {
  return bad_request(
      "This model's context holds " + std::to_string(context_tokens) +
          " tokens, but the request asks for " + std::to_string(prompt_tokens + completion_tokens) +
          " (" + std::to_string(prompt_tokens) + " in the prompt, " +
          std::to_string(completion_tokens) + " to generate); shorten the prompt or the answer.",
      param, "context_length_exceeded");
}

// wanted: the request's limit; otherwise `fallback`, as far as the context has room.
std::optional<ApiError> size_prompt(const GenerationFields& fields, int32_t context_tokens,
                                    int32_t fallback, const std::string& param,
                                    SizedPrompt* prompt) {
  const auto length = static_cast<int64_t>(prompt->ids.size());
  if (length == 0) return bad_request("The prompt has no tokens.", param, "invalid_value");
  const int64_t room = context_tokens - length;
  if (fields.max_tokens.has_value()) {
    if (*fields.max_tokens > room)
      return too_long(context_tokens, length, *fields.max_tokens, param);
    prompt->max_tokens = *fields.max_tokens;
    return std::nullopt;
  }
  const int64_t least = std::max(fields.min_tokens, 1);
  if (room < least) return too_long(context_tokens, length, least, param);
  prompt->max_tokens =
      static_cast<int32_t>(std::min<int64_t>(room, std::max<int64_t>(fallback, least)));
  return std::nullopt;
}

std::optional<ApiError> check_fields(const ServingContext& context,
                                     const GenerationFields& fields) {
  if (auto error = check_model(context, fields.model)) return error;
  if (auto error = check_token_ids(context, fields.stop_token_ids, "stop_token_ids")) return error;
  for (const protocol::TokenBias& bias : fields.sampling.bias) {
    if (bias.token < context.vocab_size) continue;
    const std::string where = "logit_bias." + std::to_string(bias.token);
    return bad_request("'" + where + "' is no token: the model's vocabulary ends at " +
                           std::to_string(context.vocab_size - 1) + ".",
                       where, "invalid_value");
  }
  return std::nullopt;
}

GenerationRequest request_template(const ServingContext& context, const GenerationFields& fields) {
  GenerationRequest request;
  request.sampling = resolve_sampling(fields.sampling, context.defaults, draw_seed());
  request.sampling.top_logprobs = fields.top_logprobs;
  request.min_tokens = fields.min_tokens;
  request.ignore_eos = fields.ignore_eos;
  request.stop_token_ids = fields.stop_token_ids;
  request.priority = fields.priority;
  return request;
}

void fill_plan(const ServingContext& context, GenerationFields& fields, const EngineStatus& engine,
               bool chat, SessionPlan* plan) {
  plan->identity.chat = chat;
  plan->identity.id = (chat ? "chatcmpl-" : "cmpl-") + random_hex_id();
  plan->identity.created = unix_seconds();
  plan->identity.model = context.model_name;
  plan->identity.system_fingerprint = system_fingerprint(engine);
  plan->stream = fields.stream;
  plan->include_usage = fields.include_usage;
  plan->choices_per_prompt = fields.n;
  plan->timing = context.timing;
  plan->choice.chat = chat;
  plan->choice.top_logprobs = fields.top_logprobs;
  plan->choice.tokens_as_ids = fields.return_tokens_as_token_ids;
  plan->choice.text.skip_special_tokens = fields.skip_special_tokens;
  plan->choice.text.stop = std::move(fields.stop);
  plan->choice.text.include_stop = fields.include_stop_str_in_output;
  plan->choice.text.min_tokens = fields.min_tokens;
  plan->choice.text.track_tokens = fields.top_logprobs >= 0;
}

void add_choices(const GenerationRequest& base, const SizedPrompt& prompt, SessionPlan* plan) {
  for (int32_t choice = 0; choice < plan->choices_per_prompt; ++choice) {
    GenerationRequest request = base;
    request.prompt = prompt.ids;
    request.max_tokens = prompt.max_tokens;
    request.sampling.choice = static_cast<uint32_t>(choice);
    plan->requests.push_back(std::move(request));
  }
}

// What a token of the answer takes until it is sent. Its text is an estimate, the rest is not.
size_t bytes_per_token(const GenerationFields& fields) {
  constexpr size_t kTextBytes = 8;
  if (fields.stream) return 0;
  return kTextBytes +
         (fields.top_logprobs >= 0 ? LogprobStore::bytes_per_token(fields.top_logprobs) : 0);
}

// Of an echoed prompt: the logprobs of all of it are there before the first is sent.
size_t bytes_per_echoed_token(const GenerationFields& fields) {
  if (fields.top_logprobs < 0) return 0;
  return sizeof(LogprobEntry) + LogprobStore::bytes_per_token(fields.top_logprobs);
}

// An answer that could not be held is refused before it is begun, not when it has grown too large.
std::optional<ApiError> check_answer_size(const GenerationFields& fields, bool echo,
                                          std::span<const SizedPrompt> prompts) {
  size_t bytes = 0;
  for (const SizedPrompt& prompt : prompts) {
    bytes += static_cast<size_t>(prompt.max_tokens) * bytes_per_token(fields);
    if (echo) bytes += prompt.ids.size() * bytes_per_echoed_token(fields);
  }
  bytes *= static_cast<size_t>(fields.n);
  if (bytes <= kMaxAnswerBytes) return std::nullopt;
  return bad_request("The answer could take " + std::to_string(bytes >> 20) +
                         " MiB (answers x tokens x logprobs), and " +
                         std::to_string(kMaxAnswerBytes >> 20) +
                         " MiB are held for one; lower 'max_tokens', 'n' or the logprobs" +
                         (fields.stream || echo ? "." : ", or set 'stream'."),
                     fields.max_tokens.has_value() && fields.n > 1 ? "n" : "max_tokens",
                     "invalid_value");
}

EncodeLimits limits_of(const EngineStatus& engine, const std::atomic<bool>& gone) {
  return {.max_tokens = static_cast<size_t>(engine.max_model_len), .cancelled = &gone};
}

std::optional<ApiError> completion_prompt_ids(const ServingContext& context,
                                              const CompletionRequest& request, size_t index,
                                              const EncodeLimits& limits,
                                              std::vector<int32_t>* ids) {
  const TextOrTokens& prompt = request.prompts[index];
  const std::string param =
      request.prompts.size() == 1 ? "prompt" : "prompt[" + std::to_string(index) + "]";
  if (const auto* tokens = std::get_if<std::vector<int32_t>>(&prompt)) {
    *ids = *tokens;
    return check_token_ids(context, *ids, param);
  }
  if (auto error = encode_text(*context.tokenizer, std::get<std::string>(prompt),
                               request.add_special_tokens, limits, param, ids)) {
    return error;
  }
  // An empty text is a prompt for models that have a token to begin with.
  const auto bos = context.tokenizer->token_id(context.tokenizer->bos_token());
  if (ids->empty() && bos.has_value()) ids->push_back(*bos);
  return check_text_ids(context, *ids, param);
}

}  // namespace

std::optional<ApiError> plan_chat(const ServingContext& context, ChatRequest request,
                                  const EngineStatus& engine, const std::atomic<bool>& gone,
                                  SessionPlan* plan) {
  if (auto error = check_fields(context, request.fields)) return error;
  if (auto error = stop_at_special_tokens(*context.tokenizer, context.vocab_size, &request.fields)) return error;
  SizedPrompt prompt;
  if (auto error = check_template_fields(context, request.prompt)) return error;
  if (auto error = encode_chat(context, request.prompt, limits_of(engine, gone), &prompt.ids))
    return error;
  if (auto error = check_text_ids(context, prompt.ids, "messages")) return error;
  const int32_t fallback = context.defaults.max_new_tokens.value_or(engine.max_model_len);
  if (auto error =
          size_prompt(request.fields, engine.max_model_len, fallback, "messages", &prompt)) {
    return error;
  }
  if (auto error = check_answer_size(request.fields, false, {&prompt, 1})) return error;
  const GenerationRequest base = request_template(context, request.fields);
  fill_plan(context, request.fields, engine, true, plan);
  add_choices(base, prompt, plan);
  return std::nullopt;
}

std::optional<ApiError> plan_completion(const ServingContext& context, CompletionRequest request,
                                        const EngineStatus& engine, const std::atomic<bool>& gone,
                                        SessionPlan* plan) {
  if (auto error = check_fields(context, request.fields)) return error;
  if (auto error = stop_at_special_tokens(*context.tokenizer, context.vocab_size, &request.fields)) return error;
  std::vector<SizedPrompt> prompts(request.prompts.size());
  const int32_t fallback = context.defaults.max_new_tokens.value_or(kDefaultCompletionTokens);
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (auto error = completion_prompt_ids(context, request, i, limits_of(engine, gone),
                                           &prompts[i].ids)) {
      return error;
    }
    if (auto error = size_prompt(request.fields, engine.max_model_len, fallback, "prompt",
                                 &prompts[i])) {
      return error;
    }
  }
  if (auto error = check_answer_size(request.fields, request.echo, prompts)) return error;
  GenerationRequest base = request_template(context, request.fields);
  if (request.echo && request.fields.top_logprobs >= 0)
    base.prompt_top_logprobs = request.fields.top_logprobs;
  fill_plan(context, request.fields, engine, false, plan);
  plan->choice.echo = request.echo;
  for (const SizedPrompt& prompt : prompts) {
    // Equal prompts of one request are to differ unless the client fixed the seed.
    if (!request.fields.sampling.seed.has_value()) base.sampling.seed = draw_seed();
    add_choices(base, prompt, plan);
  }
  return std::nullopt;
}

}  // namespace conclave::coordinator
