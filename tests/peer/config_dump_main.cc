// What the parser understands of configurations, for config_keys_test.py: the text of one
// config.json a line on stdin, {"error"} or the understood values a line on stdout. --keys prints
// the tables of keys.
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "model/config_keys.h"
#include "model/generation_keys.h"
#include "model/model_spec.h"

namespace {

using conclave::model::Family;
using conclave::model::KeyRole;
using nlohmann::ordered_json;

constexpr std::pair<const char*, Family> kFamilies[] = {{"mixtral", Family::kMixtral},
                                                        {"qwen2_moe", Family::kQwen2Moe},
                                                        {"qwen3_moe", Family::kQwen3Moe},
                                                        {"olmoe", Family::kOlmoe}};

const char* role_name(KeyRole role) {
  switch (role) {
    case KeyRole::kRead:
      return "read";
    case KeyRole::kRefused:
      return "refused";
    case KeyRole::kNoEffect:
      return "no effect";
  }
  return "";
}

ordered_json key_tables() {
  ordered_json out;
  for (const auto& [name, family] : kFamilies) {
    for (const auto& key : conclave::model::config_keys()) {
      if ((key.families & 1u << static_cast<int>(family)) == 0) continue;
      out["config"][name][std::string(key.name)] = role_name(key.role);
    }
  }
  for (const auto& key : conclave::model::generation_keys()) {
    out["generation"][std::string(key.name)] = role_name(key.role);
  }
  return out;
}

ordered_json understood(const conclave::model::ModelSpec& spec) {
  ordered_json out{{"vocab", spec.vocab},
                   {"hidden", spec.hidden},
                   {"layers", spec.layers},
                   {"heads", spec.heads},
                   {"kv_heads", spec.kv_heads},
                   {"head_dim", spec.head_dim},
                   {"window", spec.max_positions},
                   {"norm_eps", spec.norm_eps},
                   {"qkv_bias", spec.qkv_bias},
                   {"o_bias", spec.o_bias},
                   {"clip_qkv", spec.clip_qkv},
                   {"tied", spec.tied_embeddings},
                   {"experts", spec.experts},
                   {"top_k", spec.top_k},
                   {"normalize_top_k", spec.normalize_top_k},
                   {"expert_width", spec.expert_width},
                   {"shared_width", spec.shared_expert_width},
                   {"moe_layers", spec.moe_layers()},
                   {"bos", spec.bos_ids},
                   {"eos", spec.eos_ids},
                   {"rope_type", spec.rope.type},
                   {"theta", spec.rope.theta},
                   {"inverse_freq", spec.rope.inverse_freq},
                   {"attention_factor", spec.rope.attention_factor},
                   {"notes", spec.notes}};
  out["dense_width"] = spec.moe_layers().size() == spec.layer.size() ? 0 : spec.dense_width;
  for (const auto& layer : spec.layer) out["windows"].push_back(layer.sliding_window);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--keys") {
    std::cout << key_tables().dump() << std::endl;
    return 0;
  }
  for (std::string line; std::getline(std::cin, line);) {
    const auto spec = conclave::model::parse_config(line, "config.json");
    const ordered_json answer = spec.ok()
                                    ? understood(*spec)
                                    : ordered_json{{"error", std::string(spec.status().message())}};
    std::cout << answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  }
  return 0;
}
