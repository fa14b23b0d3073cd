#ifndef CONCLAVE_MODEL_CONFIG_KEYS_H_
#define CONCLAVE_MODEL_CONFIG_KEYS_H_

// Every key of config.json that the families' transformers classes know, and what becomes of it
// here: read by the parser, refused unless it says what is done anyway, or without effect on any
// token. Internal to model/.

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "model/model_spec.h"

namespace conclave::model {

enum class KeyRole : uint8_t {
  kRead,      // by the parser, which obeys it or refuses its value
  kRefused,   // would change tokens and is not implemented: only null and `neutral` are accepted
  kNoEffect,  // cannot change a token here or there
};

struct ConfigKey {
  std::string_view name;
  KeyRole role;
  uint8_t families;  // bit 1 << Family
  bool null_allowed = true;
  std::string_view neutral = {};  // kRefused: the JSON text of the one value that asks for nothing
  std::string_view why = {};      // kRefused: what it asks for; kNoEffect: why it has none
};

std::span<const ConfigKey> config_keys();
// nullptr: not a key of this family's class.
const ConfigKey* find_config_key(std::string_view name, Family family);

// Goes through the file's top-level keys by the table. UNIMPLEMENTED for a refused key,
// INVALID_ARGUMENT for a null where the class takes none, each one sentence with file and key.
// Unknown keys are noted, as transformers keeps and never reads them.
absl::Status check_config_keys(const nlohmann::json& root, Family family, std::string_view source,
                               std::vector<std::string>* notes);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_CONFIG_KEYS_H_
