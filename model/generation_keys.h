#ifndef CONCLAVE_MODEL_GENERATION_KEYS_H_
#define CONCLAVE_MODEL_GENERATION_KEYS_H_

// Every key of generation_config.json that transformers' GenerationConfig knows, and what becomes
// of it here. Internal to model/.

#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "model/config_keys.h"
#include "model/model_spec.h"

namespace conclave::model {

struct GenerationKey {
  std::string_view name;
  KeyRole role;
  double neutral = 0;  // kRefused: this number asks for nothing, as do null, false and empty values
  std::string_view why = {};
};

std::span<const GenerationKey> generation_keys();

// Sets out->unsupported to the first key that asks for another way of choosing tokens than requests
// here have, and adds a note about unknown keys.
void check_generation_keys(const nlohmann::json& root, std::string_view source,
                           GenerationDefaults* out);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_GENERATION_KEYS_H_
