#include "coordinator/tokenizer/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/bpe_tokenizer.h"
#include "coordinator/tokenizer/class_parts.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/settings_fields.h"
#include "coordinator/tokenizer/tokenizer_class.h"
#include "coordinator/tokenizer/tokenizer_settings.h"

namespace conclave::coordinator {

namespace {

// Reads folder/name into *text; an absent file leaves it empty.
absl::Status read_optional(const std::string& folder, const char* name,
                           std::optional<std::string>* text) {
  absl::StatusOr<std::string> read = read_file(absl::StrCat(folder, "/", name));
  if (absl::IsNotFound(read.status())) return absl::OkStatus();
  RETURN_IF_ERROR(read.status());
  *text = *std::move(read);
  return absl::OkStatus();
}

absl::StatusOr<SettingsFiles> parse_settings(const TokenizerFiles& files) {
  const auto path = [&files](const char* name) { return absl::StrCat(files.folder, "/", name); };
  SettingsFiles out;
  if (files.tokenizer_config.has_value()) {
    ASSIGN_OR_RETURN(out.config, SettingsFields::parse(*files.tokenizer_config,
                                                       path("tokenizer_config.json")));
  }
  if (files.special_tokens_map.has_value()) {
    ASSIGN_OR_RETURN(out.special_tokens_map, SettingsFields::parse(*files.special_tokens_map,
                                                                   path("special_tokens_map.json")));
  }
  out.added_tokens_file = path("added_tokens.json");
  if (files.added_tokens.has_value()) {
    ASSIGN_OR_RETURN(out.added_tokens,
                     parse_json_object(*files.added_tokens, out.added_tokens_file));
  }
  return out;
}

absl::StatusOr<ClassHints> class_hints(const TokenizerFiles& files, const SettingsFields& config) {
  ClassHints hints;
  if (files.model_config.has_value()) {
    const std::string path = absl::StrCat(files.folder, "/config.json");
    ASSIGN_OR_RETURN(const Json model, parse_json_object(*files.model_config, path));
    ASSIGN_OR_RETURN(hints.model_type, string_field(model, "model_type", "", path));
    ASSIGN_OR_RETURN(hints.model_class, string_field(model, "tokenizer_class", "", path));
  }
  if (const SettingsField* name = config.find("tokenizer_class")) {
    ASSIGN_OR_RETURN(hints.tokenizer_class,
                     string_field(Json{{name->key, name->value}}, "tokenizer_class", "", name->file));
    hints.has_tokenizer_class = !name->value.is_null();
  }
  hints.own_code = config.filled("auto_map");
  hints.names_byte_level = files.tokenizer_json.find("\"ByteLevel\"") != std::string::npos;
  return hints;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::from_files(
    const TokenizerFiles& files) {
  const std::string source = absl::StrCat(files.folder, "/tokenizer.json");
  ASSIGN_OR_RETURN(Json file, parse_json_object(files.tokenizer_json, source));
  ASSIGN_OR_RETURN(const SettingsFiles settings_files, parse_settings(files));
  ASSIGN_OR_RETURN(const ClassHints hints, class_hints(files, settings_files.config));
  std::string note;
  const TokenizerClass chosen = choose_tokenizer_class(hints, &note);
  if (!note.empty()) log_warning("tokenizer: " + note, {{"folder", files.folder}});
  ASSIGN_OR_RETURN(const TokenizerSettings settings,
                   read_tokenizer_settings(settings_files, chosen, file, source));
  rebuild_by_class(chosen, settings, &file);
  return BpeTokenizer::create(file, settings, source);
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(
    std::string_view tokenizer_json, std::string_view tokenizer_config_json,
    std::string_view source) {
  TokenizerFiles files;
  constexpr std::string_view kName = "/tokenizer.json";
  if (source.ends_with(kName)) source.remove_suffix(kName.size());
  files.folder = std::string(source);
  files.tokenizer_json = std::string(tokenizer_json);
  if (!tokenizer_config_json.empty()) files.tokenizer_config = std::string(tokenizer_config_json);
  return from_files(files);
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::from_folder(const std::string& folder) {
  TokenizerFiles files;
  files.folder = folder;
  const std::string path = absl::StrCat(folder, "/tokenizer.json");
  absl::StatusOr<std::string> file = read_file(path);
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(absl::StrCat(
        path,
        ": no such file; a model folder needs a tokenizer.json, which saving the tokenizer with "
        "Hugging Face transformers (save_pretrained) writes"));
  }
  RETURN_IF_ERROR(file.status());
  files.tokenizer_json = *std::move(file);
  RETURN_IF_ERROR(read_optional(folder, "tokenizer_config.json", &files.tokenizer_config));
  RETURN_IF_ERROR(read_optional(folder, "special_tokens_map.json", &files.special_tokens_map));
  RETURN_IF_ERROR(read_optional(folder, "added_tokens.json", &files.added_tokens));
  RETURN_IF_ERROR(read_optional(folder, "config.json", &files.model_config));
  return from_files(files);
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
