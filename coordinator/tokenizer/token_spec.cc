#include "coordinator/tokenizer/token_spec.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator {

AddedToken TokenSpec::added() const {
  AddedToken token;
  token.content = content;
  token.single_word = single_word;
  token.lstrip = lstrip;
  token.rstrip = rstrip;
  token.special = special;
  token.normalized = normalized.value_or(!special);
  return token;
}

TokenSpec TokenSpec::special_text(std::string content) {
  TokenSpec token;
  token.content = std::move(content);
  token.special = true;
  return token;
}

bool is_written_token(const Json& value) {
  if (!value.is_object()) return false;
  const auto type = value.find("__type");
  return type != value.end() && *type == "AddedToken";
}

absl::StatusOr<TokenSpec> token_spec_from_json(const Json& json, const std::string& where) {
  if (json.is_string()) return TokenSpec::special_text(json.get<std::string>());
  if (!json.is_object() || !json.contains("content")) {
    return bad_file(
        where, absl::StrCat("must be a token, which is a text or an object with \"content\", not ",
                            json.is_object() ? "an object without it" : json.type_name()));
  }
  TokenSpec token;
  token.plain = false;
  ASSIGN_OR_RETURN(token.content, string_field(json, "content", "", where));
  ASSIGN_OR_RETURN(token.single_word, bool_field(json, "single_word", false, where));
  ASSIGN_OR_RETURN(token.lstrip, bool_field(json, "lstrip", false, where));
  ASSIGN_OR_RETURN(token.rstrip, bool_field(json, "rstrip", false, where));
  ASSIGN_OR_RETURN(token.special, bool_field(json, "special", false, where));
  const auto normalized = json.find("normalized");
  if (normalized != json.end() && !normalized->is_null()) {
    ASSIGN_OR_RETURN(token.normalized, bool_field(json, "normalized", false, where));
  }
  return token;
}

}  // namespace conclave::coordinator
