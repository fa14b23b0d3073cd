#include "model/family_defaults.h"

#include <array>

namespace conclave::model {
namespace {

constexpr std::array<FamilyDefaults, 4> kFamilies = {{
    {.name = "mixtral",
     .family = Family::kMixtral,
     .qk_norm = QkNormKind::kNone,
     .vocab = 32000,
     .hidden = 4096,
     .layers = 32,
     .heads = 32,
     .kv_heads = 8,
     .max_positions = 131072,
     .experts = 8,
     .top_k = 2,
     .expert_width = 14336,
     .dense_width = 0,
     .shared_width = 0,
     .norm_eps = 1e-5,
     .theta = 1e6,
     .bos = 1,
     .eos = 2},
    {.name = "qwen2_moe",
     .family = Family::kQwen2Moe,
     .qk_norm = QkNormKind::kNone,
     .vocab = 151936,
     .hidden = 2048,
     .layers = 24,
     .heads = 16,
     .kv_heads = 16,
     .max_positions = 32768,
     .experts = 60,
     .top_k = 4,
     .expert_width = 1408,
     .dense_width = 5632,
     .shared_width = 5632,
     .norm_eps = 1e-6,
     .theta = 1e4,
     .bos = -1,
     .eos = -1},
    {.name = "qwen3_moe",
     .family = Family::kQwen3Moe,
     .qk_norm = QkNormKind::kPerHead,
     .vocab = 151936,
     .hidden = 2048,
     .layers = 24,
     .heads = 32,
     .kv_heads = 4,
     .max_positions = 32768,
     .experts = 128,
     .top_k = 8,
     .expert_width = 768,
     .dense_width = 6144,
     .shared_width = 0,
     .norm_eps = 1e-6,
     .theta = 1e4,
     .bos = -1,
     .eos = -1},
    {.name = "olmoe",
     .family = Family::kOlmoe,
     .qk_norm = QkNormKind::kFullWidth,
     .vocab = 50304,
     .hidden = 2048,
     .layers = 16,
     .heads = 16,
     .kv_heads = 0,
     .max_positions = 4096,
     .experts = 64,
     .top_k = 8,
     .expert_width = 2048,
     .dense_width = 0,
     .shared_width = 0,
     .norm_eps = 1e-5,
     .theta = 1e4,
     .bos = -1,
     .eos = 50279},
}};

}  // namespace

const FamilyDefaults* find_family(std::string_view name) {
  for (const FamilyDefaults& candidate : kFamilies) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

}  // namespace conclave::model
