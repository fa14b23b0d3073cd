#include "model/config_keys.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "model/family_defaults.h"
#include "model/json_fields.h"

namespace conclave::model {
namespace {

constexpr uint8_t bit(Family family) {
  return static_cast<uint8_t>(1u << static_cast<int>(family));
}
constexpr uint8_t kMixtral = bit(Family::kMixtral);
constexpr uint8_t kQwen2 = bit(Family::kQwen2Moe);
constexpr uint8_t kQwen3 = bit(Family::kQwen3Moe);
constexpr uint8_t kOlmoe = bit(Family::kOlmoe);
constexpr uint8_t kQwen = kQwen2 | kQwen3;
constexpr uint8_t kAll = kMixtral | kQwen | kOlmoe;
constexpr bool kNoNull = false;

constexpr std::string_view kTraining = "used in training alone";
constexpr std::string_view kOutputs = "chooses what a Python call returns beside the logits";
constexpr std::string_view kTask = "of heads for other tasks";
constexpr std::string_view kRecord = "a record of who wrote the file";
constexpr std::string_view kHow = "chooses among implementations of the same arithmetic";
constexpr std::string_view kPadding = "batches here are not padded";
constexpr std::string_view kGeneration =
    "settings of generation are dropped from config.json by transformers 5; "
    "generation_config.json holds them";
constexpr std::string_view kNested = "holds a model inside a model";

constexpr ConfigKey read(std::string_view name, uint8_t families, bool null_allowed = true) {
  return {name, KeyRole::kRead, families, null_allowed, {}, {}};
}
constexpr ConfigKey refused(std::string_view name, std::string_view neutral, std::string_view why,
                            uint8_t families = kAll) {
  return {name, KeyRole::kRefused, families, true, neutral, why};
}
constexpr ConfigKey idle(std::string_view name, std::string_view why, uint8_t families = kAll) {
  return {name, KeyRole::kNoEffect, families, true, {}, why};
}

constexpr std::array kKeys = {
    read("model_type", kAll, kNoNull),
    read("vocab_size", kAll, kNoNull),
    read("hidden_size", kAll, kNoNull),
    read("intermediate_size", kAll, kNoNull),
    read("num_hidden_layers", kAll, kNoNull),
    read("num_attention_heads", kAll, kNoNull),
    // The classes of all but qwen2_moe put the number of heads where they find null.
    read("num_key_value_heads", kMixtral | kQwen3 | kOlmoe),
    read("num_key_value_heads", kQwen2, kNoNull),
    read("head_dim", kMixtral),
    read("head_dim", kQwen | kOlmoe, kNoNull),
    read("hidden_act", kAll, kNoNull),
    read("max_position_embeddings", kAll, kNoNull),
    read("rms_norm_eps", kAll, kNoNull),
    read("tie_word_embeddings", kAll, kNoNull),
    read("num_experts", kAll, kNoNull),
    read("num_local_experts", kAll, kNoNull),
    read("num_experts_per_tok", kAll, kNoNull),
    read("moe_intermediate_size", kQwen, kNoNull),
    read("shared_expert_intermediate_size", kQwen2, kNoNull),
    read("norm_topk_prob", kAll, kNoNull),  // mixtral: in its extension alone
    read("decoder_sparse_step", kQwen, kNoNull),
    read("mlp_only_layers", kQwen),
    read("qkv_bias", kQwen2, kNoNull),
    read("attention_bias", kQwen3 | kOlmoe, kNoNull),
    read("clip_qkv", kOlmoe),
    read("sliding_window", kMixtral | kQwen),
    read("use_sliding_window", kQwen, kNoNull),
    read("max_window_layers", kQwen2, kNoNull),
    read("layer_types", kAll),
    read("rope_parameters", kAll),
    read("rope_scaling", kAll),
    read("rope_theta", kAll),
    read("partial_rotary_factor", kAll),
    read("original_max_position_embeddings", kAll),
    read("bos_token_id", kAll),
    read("eos_token_id", kAll),
    read("dtype", kAll),
    read("torch_dtype", kAll),
    read("ladder_residual", kAll),
    read("pre_gate", kAll),

    refused("quantization_config", "null",
            "asks for quantized weights; use the F32, F16 or BF16 version of the model"),
    refused("compression_config", "null",
            "asks for compressed weights; use the F32, F16 or BF16 version of the model"),
    refused("is_encoder_decoder", "false", "asks for an encoder"),
    refused("is_causal", "true", "lets tokens see those after them"),
    refused("per_layer_config", "{}", "makes layers differ"),
    refused("attention_chunk_size", "null", "cuts attention into chunks"),
    refused("kv_sharing_modes", "null", "lets layers share keys and values"),
    refused("sliding_window", "null", "lets the K/V cache forget, though the family has no window",
            kOlmoe),
    refused("transformers_weights", "null",
            "names the file of the weights; call it model.safetensors"),
    refused("configuration_files", "[]", "points to another configuration file"),
    refused("fusion_config", "null", "rewrites modules at load"),
    refused("text_config", "null", kNested),
    refused("text_encoder", "null", kNested),
    refused("decoder", "null", kNested),
    refused("generator", "null", kNested),

    idle("architectures", kRecord),
    idle("transformers_version", kRecord),
    idle("_name_or_path", kRecord),
    idle("name_or_path", kRecord),
    idle("_commit_hash", kRecord),
    idle("auto_map", "model_type names a class that needs no code of the folder"),
    idle("custom_pipelines", kTask),
    idle("tokenizer_class", "tokenizer_config.json names it"),
    idle("id2label", kTask),
    idle("label2id", kTask),
    idle("num_labels", kTask),
    idle("problem_type", kTask),
    idle("finetuning_task", kTask),
    idle("task_specific_params", kTask),
    idle("output_hidden_states", kOutputs),
    idle("output_attentions", kOutputs),
    idle("output_router_logits", kOutputs),
    idle("return_dict", kOutputs),
    idle("use_return_dict", kOutputs),
    idle("chunk_size_feed_forward", "these families do not chunk"),
    idle("use_cache", kHow),
    idle("attn_implementation", kHow),
    idle("_attn_implementation", kHow),
    idle("_attn_implementation_internal", kHow),
    idle("_attn_implementation_autoset", kHow),
    idle("experts_implementation", kHow),
    idle("_experts_implementation", kHow),
    idle("_experts_implementation_internal", kHow),
    idle("distributed_config", kHow),
    idle("disable_mmap", kHow),
    idle("torchscript", kHow),
    idle("use_bfloat16", kHow),
    idle("initializer_range", kTraining),
    idle("attention_dropout", kTraining),
    idle("gradient_checkpointing", kTraining),
    idle("router_aux_loss_coef", kTraining),
    idle("router_jitter_noise", kTraining, kMixtral),
    idle("pad_token_id", kPadding),
    idle("max_window_layers", "not read by this family's class", kQwen3),
    // v4's base class wrote these into every file.
    idle("add_cross_attention", "of encoder-decoder models"),
    idle("cross_attention_hidden_size", "of encoder-decoder models"),
    idle("decoder_start_token_id", "of encoder-decoder models"),
    idle("is_decoder", "of encoder-decoder models"),
    idle("tie_encoder_decoder", "of encoder-decoder models"),
    idle("prefix", "not read by transformers 5"),
    idle("pruned_heads", "not read by transformers 5"),
    idle("sep_token_id", kPadding),
    idle("tf_legacy_loss", kTraining),

    idle("max_length", kGeneration),
    idle("min_length", kGeneration),
    idle("do_sample", kGeneration),
    idle("early_stopping", kGeneration),
    idle("num_beams", kGeneration),
    idle("temperature", kGeneration),
    idle("top_k", kGeneration),
    idle("top_p", kGeneration),
    idle("typical_p", kGeneration),
    idle("repetition_penalty", kGeneration),
    idle("length_penalty", kGeneration),
    idle("no_repeat_ngram_size", kGeneration),
    idle("encoder_no_repeat_ngram_size", kGeneration),
    idle("encoder_repetition_penalty", kGeneration),
    idle("bad_words_ids", kGeneration),
    idle("num_return_sequences", kGeneration),
    idle("output_scores", kGeneration),
    idle("return_dict_in_generate", kGeneration),
    idle("forced_bos_token_id", kGeneration),
    idle("forced_eos_token_id", kGeneration),
    idle("remove_invalid_values", kGeneration),
    idle("exponential_decay_length_penalty", kGeneration),
    idle("suppress_tokens", kGeneration),
    idle("begin_suppress_tokens", kGeneration),
    idle("epsilon_cutoff", kGeneration),
    idle("eta_cutoff", kGeneration),
    idle("num_beam_groups", kGeneration),
    idle("diversity_penalty", kGeneration),
    idle("num_assistant_tokens", kGeneration),
    idle("num_assistant_tokens_schedule", kGeneration),
    idle("assistant_confidence_threshold", kGeneration),
    idle("assistant_lookbehind", kGeneration),
    idle("target_lookbehind", kGeneration),
};

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

const ConfigKey* find_config_key(std::string_view name, Family family) {
  for (const ConfigKey& key : kKeys) {
    if (key.name == name && (key.families & bit(family)) != 0) return &key;
  }
  return nullptr;
}

absl::Status check_config_keys(const nlohmann::json& root, Family family, std::string_view source,
                               std::vector<std::string>* notes) {
  constexpr size_t kMostNamed = 16;
  std::vector<std::string> unknown;
  for (const auto& item : root.items()) {
    const ConfigKey* key = find_config_key(item.key(), family);
    const auto where = [&] {
      return absl::StrCat(std::string(source), ": ", printable(item.key()));
    };
    if (key == nullptr) {
      if (unknown.size() < kMostNamed) unknown.push_back(printable(item.key()));
    } else if (item.value().is_null()) {
      if (key->null_allowed) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          where(), " is null, expected a value; without the key the family's default holds"));
    } else if (key->role == KeyRole::kRefused && item.value().dump() != key->neutral) {
      return absl::UnimplementedError(absl::StrCat(where(), " is ", printable_json(item.value()),
                                                   ", which ", std::string(key->why),
                                                   "; it is not supported"));
    }
  }
  if (!unknown.empty()) {
    notes->push_back(absl::StrCat(std::string(source), ": ", absl::StrJoin(unknown, ", "), " ",
                                  unknown.size() == 1 ? "is no key" : "are no keys",
                                  " of this family and ", unknown.size() == 1 ? "has" : "have",
                                  " no effect"));
  }
  return absl::OkStatus();
}

}  // namespace conclave::model
