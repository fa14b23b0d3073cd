#ifndef CONCLAVE_MODEL_MODEL_SPEC_H_
#define CONCLAVE_MODEL_MODEL_SPEC_H_

// The immutable description of a model, read once from config.json (v4 and v5 spellings).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"

namespace conclave::model {

enum class Family : uint8_t { kMixtral, kQwen2Moe, kQwen3Moe, kOlmoe };
enum class QkNormKind : uint8_t { kNone, kPerHead, kFullWidth };

struct RopeSpec {
  std::string type = "default";  // as transformers names it
  double theta = 10000;
  int32_t rotary_dim = 0;  // of head_dim
  // [rotary_dim / 2]; scaling (linear, yarn, llama3, longrope's short factors) already applied
  std::vector<float> inverse_freq;
  float attention_factor = 1;  // multiplies cos and sin
};

struct LayerSpec {
  bool moe = false;
  int32_t sliding_window = 0;  // 0: full attention
  // Pre-gated routing (after Hwang et al., arXiv 2308.12066): which tensors this layer has.
  bool has_own_gate = false;  // gate.weight decides this layer
  // pre_gate.weight decides the MoE layer that is `pre_gate_distance` MoE layers later
  bool hosts_pre_gate = false;
};

struct ModelSpec {
  Family family = Family::kMixtral;
  std::string model_type;  // as in the file, "mixtral_ext" included
  int32_t vocab = 0;
  int32_t hidden = 0;
  int32_t layers = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  // The window: the longest sequence in tokens, with what rope scaling adds to
  // max_position_embeddings; window_source says how it was found.
  int32_t max_positions = 0;
  std::string window_source;
  float norm_eps = 0;
  // The family's. In families with "_ext" Weights::open goes by the tensors where a family has none.
  QkNormKind qk_norm = QkNormKind::kNone;
  bool qkv_bias = false;  // q, k and v have biases
  bool o_bias = false;
  float clip_qkv = 0;  // 0: none
  RopeSpec rope;
  bool tied_embeddings = false;  // Weights::open clears it where the files have a head
  int32_t experts = 0;
  int32_t top_k = 0;
  bool normalize_top_k = false;
  int32_t expert_width = 0;
  int32_t shared_expert_width = 0;  // 0: none (Qwen2-MoE: sigmoid-gated)
  int32_t dense_width = 0;          // width of the MLP of layers that are not MoE
  bool ladder_residual = false;     // Zhang et al., arXiv 2501.06589
  int32_t pre_gate_distance = 0;    // 0: every MoE layer has its own gate
  std::vector<LayerSpec> layer;     // [layers]
  std::vector<int32_t> bos_ids;     // 0 or 1 entries
  // Of config.json and generation_config.json together, each once and < vocab; the tokenizer may
  // name a further one (cli/end_of_text.h).
  std::vector<int32_t> eos_ids;
  std::vector<int32_t> eos_outside;  // named there, but no token of the vocabulary
  bool eos_by_family = false;        // config.json names none: the family's default
  // As config says, then as the embedding is; each tensor has its own.
  DType weight_dtype = DType::kBF16;
  // What the files say without effect, one sentence each ("FILE: \"KEY\" is ...").
  std::vector<std::string> notes;

  std::vector<int32_t> moe_layers() const;  // numbers of the MoE layers, ascending
  int64_t total_parameters() const;
  int64_t active_parameters() const;  // touched by one token
  int64_t expert_parameters() const;  // of one routed expert
  int64_t kv_bytes_per_token(ComputeType compute) const;
};

// Parses config.json text; source names the file in errors. INVALID_ARGUMENT / UNIMPLEMENTED with
// one sentence.
absl::StatusOr<ModelSpec> parse_config(std::string_view json, std::string_view source);

// Sampling defaults of generation_config.json; all optional.
struct GenerationDefaults {
  // Not OK: the file asks for something that no request here can have; serving by it is refused.
  absl::Status unsupported;
  std::vector<std::string> notes;  // as ModelSpec's
  std::optional<bool> do_sample;
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int32_t> top_k, max_new_tokens;
  std::vector<int32_t> eos_ids, bos_ids;
};
absl::StatusOr<GenerationDefaults> parse_generation_config(std::string_view json,
                                                           std::string_view source);

// config.json + generation_config.json of a folder.
struct ModelDescription {
  ModelSpec spec;
  GenerationDefaults generation;
};
absl::StatusOr<ModelDescription> read_model_description(const std::string& folder);

// A shape of bench/shapes/*.json: the keys of config.json, served with random weights.
absl::StatusOr<ModelSpec> parse_shape(std::string_view json, std::string_view source);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_MODEL_SPEC_H_
