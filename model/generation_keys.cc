#include "model/generation_keys.h"

#include <array>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/json_fields.h"

namespace conclave::model {
namespace {

constexpr std::string_view kOutputs = "chooses what a Python call returns beside the tokens";
constexpr std::string_view kHow = "chooses among ways to the same tokens";
constexpr std::string_view kBeams = "of beam search, which num_beams asks for";
constexpr std::string_view kDraft = "of a draft model, which a file does not bring";
constexpr std::string_view kRecord = "a record of who wrote the file";
constexpr std::string_view kLimit = "a limit of Python calls; requests here have max_tokens";

constexpr GenerationKey read(std::string_view name) { return {name, KeyRole::kRead, 0, {}}; }
constexpr GenerationKey refused(std::string_view name, std::string_view why, double neutral = 0) {
  return {name, KeyRole::kRefused, neutral, why};
}
constexpr GenerationKey idle(std::string_view name, std::string_view why) {
  return {name, KeyRole::kNoEffect, 0, why};
}

constexpr std::array kKeys = {
    read("do_sample"),
    read("temperature"),
    read("top_k"),
    read("top_p"),
    read("min_p"),
    read("repetition_penalty"),
    read("max_new_tokens"),
    read("eos_token_id"),
    read("bos_token_id"),

    refused("num_beams", "asks for beam search", 1),
    refused("num_beam_groups", "asks for beam search in groups", 1),
    refused("penalty_alpha", "asks for contrastive search"),
    refused("dola_layers", "asks for decoding by contrasting layers"),
    refused("constraints", "asks for constrained beam search"),
    refused("force_words_ids", "asks for constrained beam search"),
    refused("typical_p", "asks for typical sampling", 1),
    refused("epsilon_cutoff", "asks for epsilon sampling"),
    refused("eta_cutoff", "asks for eta sampling"),
    refused("top_h", "asks for top-H sampling"),
    refused("no_repeat_ngram_size", "forbids repeated n-grams"),
    refused("encoder_no_repeat_ngram_size", "forbids n-grams of the prompt"),
    refused("encoder_repetition_penalty", "rewards tokens of the prompt", 1),
    refused("bad_words_ids", "forbids words"),
    refused("suppress_tokens", "forbids tokens"),
    refused("begin_suppress_tokens", "forbids tokens at the beginning"),
    refused("sequence_bias", "biases sequences of tokens"),
    refused("forced_bos_token_id", "forces the first token"),
    refused("forced_eos_token_id", "forces the last token"),
    refused("min_length", "forbids an early end"),
    refused("min_new_tokens", "forbids an early end"),
    refused("exponential_decay_length_penalty", "makes the end likelier with length"),
    refused("stop_strings", "ends answers at texts"),
    refused("guidance_scale", "asks for classifier-free guidance", 1),
    refused("watermarking_config", "asks for a watermark"),
    refused("token_healing", "changes the prompt's last token"),

    idle("max_length", kLimit),
    idle("max_time", kLimit),
    idle("num_return_sequences", "requests here have n"),
    idle("early_stopping", kBeams),
    idle("length_penalty", kBeams),
    idle("diversity_penalty", kBeams),
    idle("renormalize_logits", "sampling normalises anyway"),
    idle("remove_invalid_values", "logits that are no numbers are an error here"),
    idle("use_cache", kHow),
    idle("use_mtp", kHow),
    idle("cache_implementation", kHow),
    idle("cache_config", kHow),
    idle("max_cache_len", kHow),
    idle("low_memory", kHow),
    idle("prefill_chunk_size", kHow),
    idle("compile_config", kHow),
    idle("disable_compile", kHow),
    idle("continuous_batching_config", kHow),
    idle("prompt_lookup_num_tokens", kHow),
    idle("max_matching_ngram_size", kHow),
    idle("assistant_early_exit", kHow),
    idle("speculation_type", kHow),
    idle("is_assistant", kDraft),
    idle("num_assistant_tokens", kDraft),
    idle("num_assistant_tokens_schedule", kDraft),
    idle("assistant_confidence_threshold", kDraft),
    idle("assistant_lookbehind", kDraft),
    idle("target_lookbehind", kDraft),
    idle("assistant_ensemble_weight", kDraft),
    idle("output_attentions", kOutputs),
    idle("output_hidden_states", kOutputs),
    idle("output_scores", kOutputs),
    idle("output_logits", kOutputs),
    idle("return_dict_in_generate", kOutputs),
    idle("pad_token_id", "batches here are not padded"),
    idle("decoder_start_token_id", "of encoder-decoder models"),
    idle("transformers_version", kRecord),
    idle("_from_model_config", kRecord),
    idle("_commit_hash", kRecord),
};

const GenerationKey* find_key(std::string_view name) {
  for (const GenerationKey& key : kKeys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

bool asks_for_nothing(const nlohmann::json& value, double neutral) {
  if (value.is_null() || value == nlohmann::json(false)) return true;
  if (value.is_structured() || value.is_string()) return value.empty() || value == "";
  return value.is_number() && value.get<double>() == neutral;
}

}  // namespace

std::span<const GenerationKey> generation_keys() { return kKeys; }

void check_generation_keys(const nlohmann::json& root, std::string_view source,
                           GenerationDefaults* out) {
  constexpr size_t kMostNamed = 16;
  std::vector<std::string> unknown;
  for (const auto& item : root.items()) {
    const GenerationKey* key = find_key(item.key());
    if (key == nullptr) {
      if (unknown.size() < kMostNamed) unknown.push_back(printable(item.key()));
    } else if (key->role == KeyRole::kRefused && out->unsupported.ok() &&
               !asks_for_nothing(item.value(), key->neutral)) {
      out->unsupported = absl::UnimplementedError(absl::StrCat(
          std::string(source), ": ", printable(item.key()), " is ", printable_json(item.value()),
          ", which ", std::string(key->why),
          "; it is not supported: remove it, or serve with --generation-defaults none"));
    }
  }
  if (unknown.empty()) return;
  out->notes.push_back(absl::StrCat(std::string(source), ": ", absl::StrJoin(unknown, ", "),
                                    unknown.size() == 1 ? " is no key" : " are no keys",
                                    " of generation and ", unknown.size() == 1 ? "has" : "have",
                                    " no effect"));
}

}  // namespace conclave::model
