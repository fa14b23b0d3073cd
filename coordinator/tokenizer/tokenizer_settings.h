#ifndef CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_SETTINGS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_SETTINGS_H_

// What tokenizer_config.json, special_tokens_map.json and added_tokens.json add to a
// tokenizer.json, in the order and with the precedence of transformers 5.24 (docs/tokenizers.md).

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/added_tokens.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/settings_fields.h"
#include "coordinator/tokenizer/tokenizer_class.h"

namespace conclave::coordinator {

struct TokenizerSettings {
  // To be added to the vocabulary in this order; a later one's flags win. Their ids are open.
  std::vector<AddedToken> tokens;
  std::map<std::string, std::string> named;  // by field: eos_token, ..
  bool split_special_tokens = false;         // special tokens in a text are text
  std::optional<bool> add_prefix_space;      // for classes that build their own parts
  bool legacy = false;                       // LlamaTokenizer's
  // These replace the post_processor; special_tokens_map.json alone can set them.
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
};

// The files beside a tokenizer.json, read; an absent one is empty.
struct SettingsFiles {
  SettingsFields config;              // tokenizer_config.json
  SettingsFields special_tokens_map;  // special_tokens_map.json
  Json added_tokens;                  // added_tokens.json: content -> id
  std::string added_tokens_file;      // its name, for errors
};

// file: tokenizer.json, which errors call `source`. INVALID_ARGUMENT names file and key.
absl::StatusOr<TokenizerSettings> read_tokenizer_settings(const SettingsFiles& files,
                                                          const TokenizerClass& chosen,
                                                          const Json& file,
                                                          const std::string& source);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_SETTINGS_H_
