#ifndef CONCLAVE_COORDINATOR_TOKENIZER_TOKEN_SPEC_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_TOKEN_SPEC_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/added_tokens.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

// A token as a settings file names it: its text alone, or an object with flags.
struct TokenSpec {
  std::string content;
  bool plain = true;  // the text alone
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool special = false;
  std::optional<bool> normalized;  // not said: where the token is not special

  // As it is added to a vocabulary, its id left open.
  AddedToken added() const;
  static TokenSpec special_text(std::string content);
  bool operator==(const TokenSpec&) const = default;
};

// Whether a JSON value is an object that transformers wrote for an AddedToken ("__type").
bool is_written_token(const Json& value);

// json: a string or an object with "content". INVALID_ARGUMENT names the place.
absl::StatusOr<TokenSpec> token_spec_from_json(const Json& json, const std::string& where);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_TOKEN_SPEC_H_
