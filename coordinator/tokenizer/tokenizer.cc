#include "coordinator/tokenizer/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/bpe_tokenizer.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(
    std::string_view tokenizer_json, std::string_view tokenizer_config_json,
    std::string_view source) {
  const std::string name(source);
  ASSIGN_OR_RETURN(const Json file, parse_json_object(tokenizer_json, name));
  Json config = Json::object();
  if (!tokenizer_config_json.empty()) {
    const std::string where = absl::StrCat(name, ": tokenizer_config.json");
    ASSIGN_OR_RETURN(config, parse_json_object(tokenizer_config_json, where));
  }
  return BpeTokenizer::create(file, config, name);
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::from_folder(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/tokenizer.json");
  const absl::StatusOr<std::string> file = read_file(path);
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(absl::StrCat(
        path,
        ": no such file; a model folder needs a tokenizer.json, which saving the tokenizer with "
        "Hugging Face transformers (save_pretrained) writes"));
  }
  if (!file.ok()) return file.status();
  absl::StatusOr<std::string> config = read_file(absl::StrCat(folder, "/tokenizer_config.json"));
  if (!config.ok() && !absl::IsNotFound(config.status())) return config.status();
  return from_json(*file, config.ok() ? *config : std::string(), path);
}

std::string Tokenizer::special_token(const char* field) const {
  const auto it = special_tokens().find(field);
  return it == special_tokens().end() ? std::string() : it->second;
}

std::optional<int32_t> Tokenizer::eos_id() const {
  const std::string eos = eos_token();
  return eos.empty() ? std::nullopt : token_id(eos);
}

BoundedEncoding Tokenizer::encode_within(std::string_view text, bool add_special_tokens,
                                         const EncodeLimits& limits) const {
  BoundedEncoding result;
  result.ids = encode(text, add_special_tokens);
  if (result.ids.size() > limits.max_tokens) {
    result.at_least = result.ids.size();
    result.ids.clear();
    result.end = BoundedEncoding::End::kTooLong;
  }
  return result;
}

}  // namespace conclave::coordinator
