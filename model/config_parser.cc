// config.json to ModelSpec: families, class defaults, both spellings.

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/config_keys.h"
#include "model/family_defaults.h"
#include "model/json_fields.h"
#include "model/model_spec.h"
#include "model/rope_frequencies.h"
#include "model/token_ids.h"

namespace conclave::model {
namespace {

// Limits that no model of these families comes near; within them no size computation can overflow
// int64 (vocab, layers * experts * width * hidden).
constexpr int32_t kMaxVocab = 1 << 24;
constexpr int32_t kMaxHidden = 1 << 18;
constexpr int32_t kMaxWidth = 1 << 18;
constexpr int32_t kMaxLayers = 1 << 10;
constexpr int32_t kMaxHeads = 1 << 12;
constexpr int32_t kMaxHeadDim = 1 << 12;
constexpr int32_t kMaxExperts = 1 << 13;
constexpr int32_t kMaxInt = INT32_MAX;
constexpr int kConfigDepth = 64;
constexpr std::string_view kFullAttention = "full_attention";
constexpr std::string_view kSlidingAttention = "sliding_attention";

bool is_qwen(Family family) { return family == Family::kQwen2Moe || family == Family::kQwen3Moe; }

// 0: none. An infinite limit clips nothing.
double read_clip(JsonFields* fields) {
  const nlohmann::json* value = fields->find("clip_qkv");
  if (value != nullptr && value->is_number_float() && value->get<double>() == HUGE_VAL) return 0;
  return fields->number("clip_qkv", 0, 1e-6, 1e6);
}

class ConfigParser {
 public:
  ConfigParser(const nlohmann::json* root, std::string_view source)
      : root_(root), source_(source), fields_(root, source) {}

  absl::StatusOr<ModelSpec> parse() {
    RETURN_IF_ERROR(read_family());
    RETURN_IF_ERROR(check_config_keys(*root_, spec_.family, source_, &spec_.notes));
    RETURN_IF_ERROR(check_activation());
    RETURN_IF_ERROR(read_sizes());
    RETURN_IF_ERROR(read_experts());
    RETURN_IF_ERROR(read_attention());
    RETURN_IF_ERROR(read_layers());
    RETURN_IF_ERROR(read_windows());
    RETURN_IF_ERROR(read_pre_gate());
    RETURN_IF_ERROR(read_tokens_and_dtype());
    return std::move(spec_);
  }

 private:
  absl::Status read_family();
  absl::Status check_activation();
  absl::Status read_sizes();
  absl::Status read_experts();
  absl::Status read_attention();
  absl::Status read_layers();
  absl::Status read_windows();
  absl::Status read_pre_gate();
  absl::Status read_tokens_and_dtype();
  absl::Status read_expert_count();
  absl::StatusOr<std::vector<std::string>> layer_types();
  absl::Status set_windows(int32_t window, const std::vector<std::string>& types);
  std::vector<int32_t> ids_within_vocab(const char* key, int32_t fallback,
                                        std::vector<int32_t>* outside);

  const nlohmann::json* root_;
  std::string source_;
  JsonFields fields_;
  const FamilyDefaults* defaults_ = nullptr;
  bool extended_ = false;  // model_type ends in _ext
  ModelSpec spec_;
};

absl::Status ConfigParser::read_family() {
  spec_.model_type = fields_.text("model_type", "");
  RETURN_IF_ERROR(fields_.status());
  if (spec_.model_type.empty()) {
    fields_.expected("model_type",
                     "mixtral, qwen2_moe, qwen3_moe, olmoe or one of these with _ext");
    return fields_.status();
  }
  std::string name = spec_.model_type;
  constexpr std::string_view kSuffix = "_ext";
  extended_ = name.size() > kSuffix.size() &&
              name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0;
  if (extended_) name.resize(name.size() - kSuffix.size());
  defaults_ = find_family(name);
  if (defaults_ == nullptr) {
    return absl::UnimplementedError(absl::StrCat(
        fields_.where("model_type"), " is ", printable(spec_.model_type),
        ", which is not supported; supported are mixtral, qwen2_moe, qwen3_moe, olmoe, "
        "each also with _ext"));
  }
  spec_.family = defaults_->family;
  spec_.qk_norm = defaults_->qk_norm;
  return absl::OkStatus();
}

absl::Status ConfigParser::check_activation() {
  const std::string activation = fields_.text("hidden_act", "silu");
  RETURN_IF_ERROR(fields_.status());
  if (activation != "silu" && activation != "swish") {  // two names of one function
    return absl::UnimplementedError(absl::StrCat(fields_.where("hidden_act"), " is ",
                                                 printable(activation), ", expected \"silu\""));
  }
  return absl::OkStatus();
}

absl::Status ConfigParser::read_sizes() {
  spec_.vocab = fields_.integer("vocab_size", defaults_->vocab, 1, kMaxVocab);
  spec_.hidden = fields_.integer("hidden_size", defaults_->hidden, 1, kMaxHidden);
  spec_.layers = fields_.integer("num_hidden_layers", defaults_->layers, 1, kMaxLayers);
  spec_.heads = fields_.integer("num_attention_heads", defaults_->heads, 1, kMaxHeads);
  // An explicit null means as many as query heads, a missing key the family's number.
  const bool null_kv = !fields_.has("num_key_value_heads") && fields_.given("num_key_value_heads");
  const int32_t kv_default =
      null_kv || defaults_->kv_heads == 0 ? spec_.heads : defaults_->kv_heads;
  spec_.kv_heads = fields_.integer("num_key_value_heads", kv_default, 1, kMaxHeads);
  spec_.head_dim = fields_.integer("head_dim", 0, 1, kMaxHeadDim);
  spec_.max_positions =
      fields_.integer("max_position_embeddings", defaults_->max_positions, 1, kMaxInt);
  spec_.norm_eps = static_cast<float>(fields_.number("rms_norm_eps", defaults_->norm_eps, 0, 1));
  spec_.tied_embeddings = fields_.boolean("tie_word_embeddings", false);
  RETURN_IF_ERROR(fields_.status());
  if (spec_.heads % spec_.kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields_.where("num_key_value_heads"), " is ", spec_.kv_heads,
                     ", expected a divisor of num_attention_heads, which is ", spec_.heads));
  }
  if (spec_.head_dim == 0) {
    if (spec_.hidden % spec_.heads != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(fields_.where("num_attention_heads"), " is ", spec_.heads,
                       ", expected a divisor of hidden_size, which is ", spec_.hidden,
                       ", as head_dim is not given"));
    }
    spec_.head_dim = spec_.hidden / spec_.heads;
    if (spec_.head_dim > kMaxHeadDim) {
      return absl::InvalidArgumentError(
          absl::StrCat(source_, ": hidden_size / num_attention_heads is ", spec_.head_dim,
                       ", expected at most ", kMaxHeadDim));
    }
  }
  return absl::OkStatus();
}

// num_local_experts is another name of num_experts in all classes but qwen2_moe's. A number under a
// name that the class does not read must be the same.
absl::Status ConfigParser::read_expert_count() {
  const bool two_names = spec_.family != Family::kQwen2Moe;
  spec_.experts = defaults_->experts;
  std::string given;
  const auto compare = [&](const char* key, bool read) {
    if (!fields_.has(key)) return absl::OkStatus();
    const int32_t count = fields_.integer(key, spec_.experts, 1, kMaxExperts);
    RETURN_IF_ERROR(fields_.status());
    if (count != spec_.experts && (!read || !given.empty())) {
      return absl::InvalidArgumentError(
          absl::StrCat(fields_.where(key), " is ", count, ", but ",
                       given.empty() ? "this family's default" : given, " is ", spec_.experts,
                       "; expected the same number"));
    }
    spec_.experts = count;
    if (read) given = key;
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(compare("num_experts", true));
  RETURN_IF_ERROR(compare("num_local_experts", two_names));
  return compare("n_routed_experts", false);
}

absl::Status ConfigParser::read_experts() {
  RETURN_IF_ERROR(read_expert_count());
  spec_.top_k = fields_.integer("num_experts_per_tok", defaults_->top_k, 1, spec_.experts);
  const bool mixtral = spec_.family == Family::kMixtral;
  spec_.normalize_top_k = fields_.boolean("norm_topk_prob", mixtral);
  if (mixtral && !extended_ && !spec_.normalize_top_k) {
    spec_.normalize_top_k = true;
    spec_.notes.push_back(absl::StrCat(fields_.where("norm_topk_prob"),
                                       " is false, but mixtral always renormalises; model_type "
                                       "mixtral_ext obeys it"));
  }
  const int32_t intermediate = fields_.integer(
      "intermediate_size", is_qwen(spec_.family) ? defaults_->dense_width : defaults_->expert_width,
      1, kMaxWidth);
  if (is_qwen(spec_.family)) {
    spec_.dense_width = intermediate;
    spec_.expert_width =
        fields_.integer("moe_intermediate_size", defaults_->expert_width, 1, kMaxWidth);
  } else {
    spec_.expert_width = intermediate;
  }
  if (spec_.family == Family::kQwen2Moe) {
    spec_.shared_expert_width =
        fields_.integer("shared_expert_intermediate_size", defaults_->shared_width, 0, kMaxWidth);
  }
  RETURN_IF_ERROR(fields_.status());
  if (spec_.top_k > spec_.experts) {
    return absl::InvalidArgumentError(absl::StrCat(fields_.where("num_experts_per_tok"), " is ",
                                                   spec_.top_k, ", expected at most the ",
                                                   spec_.experts, " experts"));
  }
  return absl::OkStatus();
}

absl::Status ConfigParser::read_attention() {
  const bool attention_bias = fields_.boolean("attention_bias", false);
  switch (spec_.family) {
    case Family::kMixtral:
      break;
    case Family::kQwen2Moe:
      spec_.qkv_bias = fields_.boolean("qkv_bias", true);
      break;
    case Family::kQwen3Moe:
    case Family::kOlmoe:
      spec_.qkv_bias = spec_.o_bias = attention_bias;
      break;
  }
  if (spec_.family == Family::kOlmoe) {
    spec_.clip_qkv = static_cast<float>(read_clip(&fields_));
  }
  spec_.ladder_residual = fields_.boolean("ladder_residual", false);
  RETURN_IF_ERROR(fields_.status());
  ASSIGN_OR_RETURN(RopeReading rope, read_rope(&fields_, source_,
                                               {.default_theta = defaults_->theta,
                                                .head_dim = spec_.head_dim,
                                                .max_positions = spec_.max_positions}));
  spec_.rope = std::move(rope.spec);
  spec_.max_positions = rope.window;
  spec_.window_source = std::move(rope.window_source);
  for (std::string& note : rope.notes) spec_.notes.push_back(std::move(note));
  return absl::OkStatus();
}

absl::Status ConfigParser::read_layers() {
  spec_.layer.assign(static_cast<size_t>(spec_.layers), LayerSpec{.moe = true});
  if (is_qwen(spec_.family)) {
    const int32_t step = fields_.integer("decoder_sparse_step", 1, 1, kMaxInt);
    const std::vector<int32_t> dense = fields_.integer_list("mlp_only_layers");
    RETURN_IF_ERROR(fields_.status());
    for (int32_t l = 0; l < spec_.layers; ++l) {
      spec_.layer[static_cast<size_t>(l)].moe = (int64_t{l} + 1) % step == 0;
    }
    for (const int32_t l : dense) {
      if (l < spec_.layers) spec_.layer[static_cast<size_t>(l)].moe = false;
    }
  }
  if (spec_.moe_layers().empty()) {
    return absl::UnimplementedError(
        absl::StrCat(source_,
                     ": mlp_only_layers and decoder_sparse_step leave no layer with "
                     "experts, expected at least one"));
  }
  return absl::OkStatus();
}

// Empty if the file has none.
absl::StatusOr<std::vector<std::string>> ConfigParser::layer_types() {
  std::vector<std::string> types = fields_.text_list("layer_types");
  RETURN_IF_ERROR(fields_.status());
  if (!fields_.has("layer_types")) return types;
  if (types.size() != spec_.layer.size()) {
    return absl::InvalidArgumentError(absl::StrCat(fields_.where("layer_types"), " has ",
                                                   types.size(), " entries, expected ",
                                                   spec_.layers, ", one a layer"));
  }
  for (std::string& type : types) {
    if (type == "attention") type = kFullAttention;  // its name in older files
    if (type == kFullAttention || type == kSlidingAttention) continue;
    return absl::UnimplementedError(
        absl::StrCat(fields_.where("layer_types"), " holds ", printable(type),
                     ", which is not supported; supported are full_attention, sliding_attention"));
  }
  return types;
}

// window 0: none is in force. Only qwen2_moe's class reads layer_types; in the others a window is
// on every layer.
absl::Status ConfigParser::set_windows(int32_t window, const std::vector<std::string>& types) {
  const auto sliding = std::count(types.begin(), types.end(), kSlidingAttention);
  if (sliding > 0 && window == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        fields_.where("layer_types"), " has layers of sliding_attention, but no ",
        "window is in force; set sliding_window (and use_sliding_window), or make them ",
        "full_attention"));
  }
  const bool reads_types = spec_.family == Family::kQwen2Moe;
  const auto size = static_cast<std::ptrdiff_t>(types.size());
  if (!reads_types && sliding > 0 && sliding < size) {
    return absl::UnimplementedError(absl::StrCat(
        fields_.where("layer_types"), " mixes full_attention and sliding_attention, but ",
        std::string(defaults_->name),
        " has its window on every layer; make them all sliding_attention"));
  }
  if (!reads_types && sliding < size && window > 0) {
    spec_.notes.push_back(absl::StrCat(fields_.where("layer_types"), " is not read by ",
                                       std::string(defaults_->name), ": the window of ", window,
                                       " is on every layer"));
  }
  for (size_t l = 0; l < spec_.layer.size(); ++l) {
    const bool full = reads_types && !types.empty() && types[l] == kFullAttention;
    spec_.layer[l].sliding_window = full ? 0 : window;
  }
  return absl::OkStatus();
}

absl::Status ConfigParser::read_windows() {
  const bool mixtral = spec_.family == Family::kMixtral;
  ASSIGN_OR_RETURN(std::vector<std::string> types, layer_types());
  if (!mixtral && !is_qwen(spec_.family)) return set_windows(0, types);
  int32_t window = fields_.integer("sliding_window", mixtral ? 0 : 4096, 0, kMaxInt);
  const bool use = mixtral || fields_.boolean("use_sliding_window", false);
  const int32_t max_window_layers = fields_.integer("max_window_layers", 28, 0, kMaxInt);
  RETURN_IF_ERROR(fields_.status());
  if (fields_.given("sliding_window") && !fields_.has("sliding_window")) window = 0;  // null: none
  if (!use) return set_windows(0, types);
  if (fields_.has("sliding_window") && window == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields_.where("sliding_window"),
                     " is 0, which leaves a token nothing to attend to; null means no window"));
  }
  if (spec_.family == Family::kQwen2Moe && types.empty()) {
    for (int32_t l = 0; l < spec_.layers; ++l) {
      types.emplace_back(l % 2 == 0 && l < max_window_layers ? kSlidingAttention : kFullAttention);
    }
  }
  return set_windows(window, types);
}

absl::Status ConfigParser::read_pre_gate() {
  const nlohmann::json* object = fields_.object("pre_gate");
  RETURN_IF_ERROR(fields_.status());
  if (object != nullptr) {
    JsonFields pre_gate(object, source_, "pre_gate.");
    if (!pre_gate.has("distance")) pre_gate.expected("distance", "an integer of at least 1");
    spec_.pre_gate_distance = pre_gate.integer("distance", 1, 1, kMaxInt);
    RETURN_IF_ERROR(pre_gate.status());
  }
  const std::vector<int32_t> moe = spec_.moe_layers();
  const auto count = static_cast<int64_t>(moe.size());
  const int64_t distance = spec_.pre_gate_distance;
  for (int64_t m = 0; m < count; ++m) {
    LayerSpec& layer = spec_.layer[static_cast<size_t>(moe[static_cast<size_t>(m)])];
    layer.has_own_gate = distance == 0 || m < distance;
    layer.hosts_pre_gate = distance != 0 && m + distance < count;
  }
  return absl::OkStatus();
}

std::vector<int32_t> ConfigParser::ids_within_vocab(const char* key, int32_t fallback,
                                                    std::vector<int32_t>* outside) {
  std::vector<int32_t> ids = fields_.token_ids(
      key, fallback < 0 || fields_.given(key) ? std::vector<int32_t>() : std::vector{fallback});
  take_outside(&ids, spec_.vocab, outside);
  return ids;
}

absl::Status ConfigParser::read_tokens_and_dtype() {
  std::vector<int32_t> unused;
  spec_.bos_ids = ids_within_vocab("bos_token_id", defaults_->bos, &unused);
  spec_.eos_ids = ids_within_vocab("eos_token_id", defaults_->eos, &spec_.eos_outside);
  spec_.eos_by_family = !fields_.given("eos_token_id");
  if (spec_.bos_ids.size() > 1) spec_.bos_ids.resize(1);
  const char* key = fields_.has("dtype") ? "dtype" : "torch_dtype";
  const std::string written = fields_.text(key, "bfloat16");
  RETURN_IF_ERROR(fields_.status());
  constexpr std::string_view kModule = "torch.";
  const std::string dtype =
      written.rfind(kModule, 0) == 0 ? written.substr(kModule.size()) : written;
  if (dtype == "float32" || dtype == "float") {
    spec_.weight_dtype = DType::kF32;
  } else if (dtype == "float16" || dtype == "half") {
    spec_.weight_dtype = DType::kF16;
  } else if (dtype == "bfloat16" || dtype == "auto") {
    spec_.weight_dtype = DType::kBF16;
  } else {
    return absl::UnimplementedError(
        absl::StrCat(fields_.where(key), " is ", printable(written),
                     ", which is not supported; supported are float32, float16, bfloat16"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelSpec> parse_config(std::string_view json, std::string_view source) {
  nlohmann::json root;
  RETURN_IF_ERROR(parse_json_object(json, source, kConfigDepth, &root));
  decode_float_tags(&root);
  return ConfigParser(&root, source).parse();
}

absl::StatusOr<ModelSpec> parse_shape(std::string_view json, std::string_view source) {
  return parse_config(json, source);
}

}  // namespace conclave::model
