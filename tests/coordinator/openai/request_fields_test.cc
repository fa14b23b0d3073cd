#include "coordinator/openai/request_fields.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "coordinator/openai/requests.h"

namespace conclave::coordinator {
namespace {

constexpr std::array kEndpoints = {Endpoint::kChat, Endpoint::kCompletion, Endpoint::kTokenize,
                                   Endpoint::kDetokenize};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    if (end > at) out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

// "guided_*" as a name that only the star covers.
std::string spelled(std::string name) {
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, "of_some_kind");
  return name;
}

struct Parsed {
  std::optional<ApiError> error;
  std::vector<std::string> unknown;
};

// A request that is fine but for what it says of `name`.
Json body_with(Endpoint endpoint, const std::string& name, const Json& value) {
  Json body = Json::object();
  // /tokenize takes a text or messages.
  const bool tokenize_chat = endpoint == Endpoint::kTokenize && name != "prompt" &&
                             find_request_field(Endpoint::kChat, name) != nullptr;
  if (endpoint == Endpoint::kChat || tokenize_chat)
    body["messages"] = Json::array({{{"role", "user"}, {"content", "hi"}}});
  if (endpoint == Endpoint::kCompletion || (endpoint == Endpoint::kTokenize && !tokenize_chat))
    body["prompt"] = "hi";
  if (endpoint == Endpoint::kDetokenize) body["tokens"] = Json::array({1});
  const size_t dot = name.find('.');
  if (dot == std::string::npos) {
    body[name] = value;
    return body;
  }
  const std::string parent = name.substr(0, dot);
  if (parent == "stream_options") body["stream"] = true;
  if (parent == "response_format") body[parent]["type"] = "text";
  body[parent][name.substr(dot + 1)] = value;
  return body;
}

Parsed parse(Endpoint endpoint, const Json& body) {
  const std::string text = body.dump();
  ChatRequest chat;
  CompletionRequest completion;
  TokenizeRequest tokenize;
  DetokenizeRequest detokenize;
  switch (endpoint) {
    case Endpoint::kChat: {
      auto error = parse_chat_request(text, &chat);
      return {std::move(error), chat.fields.unknown};
    }
    case Endpoint::kCompletion: {
      auto error = parse_completion_request(text, &completion);
      return {std::move(error), completion.fields.unknown};
    }
    case Endpoint::kTokenize: {
      auto error = parse_tokenize_request(text, &tokenize);
      return {std::move(error), tokenize.unknown};
    }
    case Endpoint::kDetokenize: {
      auto error = parse_detokenize_request(text, &detokenize);
      return {std::move(error), detokenize.unknown};
    }
  }
  return {};
}

template <typename F>
void for_each_name(FieldUse use, F f) {
  for (const RequestFields& row : request_fields()) {
    if (row.use != use) continue;
    for (const Endpoint endpoint : kEndpoints) {
      if ((row.endpoints & static_cast<EndpointSet>(endpoint)) == 0) continue;
      for (const std::string& name : words(row.names)) f(row, endpoint, spelled(name));
    }
  }
}

TEST(RequestFields, TheTableIsWellFormed) {
  std::set<std::pair<Endpoint, std::string>> seen;
  for (const RequestFields& row : request_fields()) {
    EXPECT_FALSE(row.note.empty()) << row.names;
    EXPECT_FALSE(row.note.ends_with('.')) << row.names << ": the note is a clause";
    if (!row.neutral.empty()) {
      EXPECT_EQ(row.use, FieldUse::kRefused) << row.names;
      EXPECT_TRUE(Json::parse(row.neutral, nullptr, false).is_array()) << row.names;
    }
    for (const Endpoint endpoint : kEndpoints) {
      if ((row.endpoints & static_cast<EndpointSet>(endpoint)) == 0) continue;
      for (const std::string& name : words(row.names)) {
        EXPECT_TRUE(seen.emplace(endpoint, name).second) << name << " twice at one endpoint";
        EXPECT_EQ(find_request_field(endpoint, spelled(name)), &row) << name;
      }
    }
  }
}

TEST(RequestFields, WhatIsRefusedIs400WithItsNameAndNeutralValuesPass) {
  for_each_name(FieldUse::kRefused, [](const RequestFields& row, Endpoint endpoint,
                                       const std::string& name) {
    for (const Json& value : {Json{{"a", 1}}, Json("text"), Json(0.77), Json::array({"x"})}) {
      const Parsed parsed = parse(endpoint, body_with(endpoint, name, value));
      ASSERT_TRUE(parsed.error.has_value()) << name << " " << value;
      EXPECT_EQ(parsed.error->status, 400);
      EXPECT_EQ(parsed.error->param, name);
      EXPECT_NE(parsed.error->message.find(row.note), std::string::npos) << parsed.error->message;
    }
    Json fine = row.neutral.empty() ? Json::array() : Json::parse(row.neutral);
    if (name != "messages") fine.push_back(nullptr);
    for (const Json& value : fine) {
      const Parsed parsed = parse(endpoint, body_with(endpoint, name, value));
      EXPECT_FALSE(parsed.error.has_value()) << name << " " << value << parsed.error->message;
      EXPECT_TRUE(parsed.unknown.empty()) << name;
    }
  });
}

// A field of the table that no parser reads would be ignored without a word.
TEST(RequestFields, WhatIsHonouredIsRead) {
  const auto read = [](const RequestFields&, Endpoint endpoint, const std::string& name) {
    bool seen = false;
    for (const Json& wrong : {Json{{"?", Json::object()}}, Json(1.5), Json("?"),
                              Json::array({Json::array({"?"})}), Json(true)}) {
      const Parsed parsed = parse(endpoint, body_with(endpoint, name, wrong));
      seen = seen || (parsed.error && parsed.error->param->starts_with(name));
    }
    EXPECT_TRUE(seen) << name << " at endpoint " << static_cast<int>(endpoint);
  };
  for_each_name(FieldUse::kHonoured, read);
  for_each_name(FieldUse::kTemplate, read);
}

TEST(RequestFields, WhatHasNoEffectIsAcceptedAndKnown) {
  for_each_name(FieldUse::kNoEffect,
                [](const RequestFields&, Endpoint endpoint, const std::string& name) {
                  const Parsed parsed = parse(endpoint, body_with(endpoint, name, "text"));
                  EXPECT_FALSE(parsed.error.has_value()) << name;
                  EXPECT_TRUE(parsed.unknown.empty()) << name;
                });
}

// Names that no row lists are accepted, and told to the log.
TEST(RequestFields, OthersAreUnknown) {
  for (const Endpoint endpoint : kEndpoints) {
    const Parsed parsed = parse(endpoint, body_with(endpoint, "guid", 1));
    EXPECT_FALSE(parsed.error.has_value());
    EXPECT_EQ(parsed.unknown, std::vector<std::string>{"guid"});
  }
}

TEST(RequestFields, RefusalsSayWhatToDo) {
  const auto text = [](const char* name) {
    return refusal(*find_request_field(Endpoint::kChat, name), name);
  };
  EXPECT_EQ(text("repeat_penalty"),
            "'repeat_penalty' must be 1 or left out: use 'repetition_penalty'.");
  EXPECT_EQ(
      text("use_beam_search"),
      "'use_beam_search' is not supported by this server: tokens are drawn, not searched for.");
}

// Numbers compare by value, other types never equal them.
TEST(RequestFields, NeutralValuesAreExact) {
  const auto refused = [](const char* name, const Json& value) {
    return asks_for_refused(*find_request_field(Endpoint::kCompletion, name), value);
  };
  EXPECT_FALSE(refused("length_penalty", 1.0));
  EXPECT_FALSE(refused("length_penalty", 1));
  EXPECT_TRUE(refused("length_penalty", 1.01));
  EXPECT_TRUE(refused("length_penalty", true));
  EXPECT_FALSE(refused("use_beam_search", false));
  EXPECT_TRUE(refused("use_beam_search", 0));
  EXPECT_TRUE(refused("json_schema", Json::object())) << "any JSON, so no free text";
}

// ---- the request schemas that clients are written for: every field has a row

struct Schema {
  const char* of;
  Endpoint endpoint;
  const char* names;
};

class KnownSchema : public testing::TestWithParam<Schema> {};

TEST_P(KnownSchema, HasARowForEveryField) {
  for (const std::string& name : words(GetParam().names)) {
    EXPECT_NE(find_request_field(GetParam().endpoint, name), nullptr) << name;
  }
}

constexpr const char* kOpenAiChat =
    "messages model audio frequency_penalty function_call functions logit_bias logprobs "
    "max_completion_tokens max_tokens metadata modalities n parallel_tool_calls prediction "
    "presence_penalty prompt_cache_key prompt_cache_retention reasoning_effort response_format "
    "safety_identifier seed service_tier stop store stream stream_options temperature tool_choice "
    "tools top_logprobs top_p user verbosity web_search_options stream_options.include_usage "
    "stream_options.include_obfuscation response_format.type response_format.json_schema";
constexpr const char* kOpenAiCompletion =
    "model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty "
    "seed stop stream stream_options suffix temperature top_p user";
constexpr const char* kVllm =
    "use_beam_search top_k min_p repetition_penalty watermarking length_penalty stop_token_ids "
    "include_stop_str_in_output ignore_eos min_tokens skip_special_tokens "
    "spaces_between_special_tokens truncate_prompt_tokens truncation_side prompt_logprobs "
    "logprob_token_ids allowed_token_ids bad_words echo add_special_tokens response_format "
    "structured_outputs priority request_id session_id return_tokens_as_token_ids return_token_ids "
    "routed_experts_prompt_start return_token_offsets return_mm_kwargs cache_salt "
    "kv_transfer_params ec_transfer_params vllm_xargs repetition_detection thinking_token_budget "
    "stream_interval guided_json guided_regex guided_choice guided_grammar "
    "guided_decoding_backend guided_whitespace_pattern logits_processors "
    "stream_options.continuous_usage_stats";
constexpr const char* kVllmChat =
    "include_reasoning reasoning_effort add_generation_prompt continue_final_message documents "
    "chat_template chat_template_kwargs media_io_kwargs mm_processor_kwargs return_prompt_text";
constexpr const char* kSglang =
    "return_hidden_states return_routed_experts routed_experts_start_len "
    "return_cached_tokens_details return_token_ids top_k min_p min_tokens json_schema regex ebnf "
    "repetition_penalty stop_token_ids stop_regex no_stop_trim ignore_eos skip_special_tokens "
    "lora_path session_id session_params custom_params custom_logit_processor images_config "
    "bootstrap_host bootstrap_port bootstrap_room routed_dp_rank disagg_prefill_dp_rank "
    "data_parallel_rank rid extra_key cache_salt ngram_corpus_id priority custom_labels";
constexpr const char* kSglangChat =
    "return_prompt_token_ids return_meta_info task continue_final_message separate_reasoning "
    "stream_reasoning chat_template_kwargs max_dynamic_patch min_dynamic_patch use_audio_in_video "
    "input_ids reasoning";
constexpr const char* kLlamaCpp =
    "temperature dynatemp_range dynatemp_exponent top_k top_p min_p n_predict n_indent n_keep "
    "n_discard stream stop typical_p repeat_penalty repeat_last_n presence_penalty "
    "frequency_penalty dry_multiplier dry_base dry_allowed_length dry_penalty_last_n "
    "dry_sequence_breakers xtc_probability xtc_threshold mirostat mirostat_tau mirostat_eta "
    "grammar grammar_lazy grammar_triggers json_schema seed ignore_eos logit_bias n_probs min_keep "
    "t_max_predict_ms image_data id_slot cache_prompt return_tokens samplers timings_per_token "
    "return_progress post_sampling_probs response_fields lora top_n_sigma adaptive_target "
    "adaptive_decay reasoning_format thinking_budget_tokens";
constexpr const char* kHuggingFace =
    "do_sample num_beams early_stopping length_penalty diversity_penalty num_return_sequences "
    "max_new_tokens max_length min_new_tokens min_length no_repeat_ngram_size typical_p "
    "epsilon_cutoff eta_cutoff guidance_scale watermark truncate encoder_repetition_penalty "
    "penalty_alpha";

INSTANTIATE_TEST_SUITE_P(All, KnownSchema,
                         testing::Values(Schema{"OpenAI", Endpoint::kChat, kOpenAiChat},
                                         Schema{"OpenAI", Endpoint::kCompletion, kOpenAiCompletion},
                                         Schema{"vLLM", Endpoint::kChat, kVllm},
                                         Schema{"vLLM", Endpoint::kChat, kVllmChat},
                                         Schema{"vLLM", Endpoint::kCompletion, kVllm},
                                         Schema{"SGLang", Endpoint::kChat, kSglang},
                                         Schema{"SGLang", Endpoint::kChat, kSglangChat},
                                         Schema{"SGLang", Endpoint::kCompletion, kSglang},
                                         Schema{"llama.cpp", Endpoint::kChat, kLlamaCpp},
                                         Schema{"llama.cpp", Endpoint::kCompletion, kLlamaCpp},
                                         Schema{"Hugging Face", Endpoint::kChat, kHuggingFace},
                                         Schema{"Hugging Face", Endpoint::kCompletion,
                                                kHuggingFace}));

}  // namespace
}  // namespace conclave::coordinator
