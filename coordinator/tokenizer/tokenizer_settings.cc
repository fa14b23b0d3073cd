#include "coordinator/tokenizer/tokenizer_settings.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/token_spec.h"

namespace conclave::coordinator {
namespace {

constexpr const char* kStandard[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                     "pad_token", "cls_token", "mask_token"};
constexpr const char* kExtra = "extra_special_tokens";
constexpr const char* kAdditional = "additional_special_tokens";  // its older name
constexpr const char* kOwn = "model_specific_special_tokens";
constexpr const char* kDecoder = "added_tokens_decoder";
constexpr const char* kForcedCleanUp =
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";

bool is_standard(std::string_view key) {
  return std::find(std::begin(kStandard), std::end(kStandard), key) != std::end(kStandard);
}

// special_tokens_map.json's objects are tokens as they stand, and special. tokenizer_config.json's
// become tokens after added_tokens.json has been read, which therefore does not see that its tokens
// are special.
constexpr const char* kRead = "__read";
void mark_as_read(Json& token) {
  token["special"] = true;
  token["__type"] = "AddedToken";
  token[kRead] = true;
}

std::string place(const SettingsField& field) { return absl::StrCat(field.file, ": ", field.key); }

using NamedTokens = std::vector<std::pair<std::string, TokenSpec>>;

void set_named(NamedTokens& named, const std::string& name, TokenSpec token) {
  const auto it = std::find_if(named.begin(), named.end(),
                               [&name](const auto& entry) { return entry.first == name; });
  if (it == named.end()) {
    named.emplace_back(name, std::move(token));
  } else {
    it->second = std::move(token);
  }
}

void set_field(std::vector<SettingsField>& fields, SettingsField field) {
  const auto it = std::find_if(fields.begin(), fields.end(), [&field](const SettingsField& known) {
    return known.key == field.key;
  });
  if (it == fields.end()) {
    fields.push_back(std::move(field));
  } else {
    *it = std::move(field);
  }
}

void note_content(const Json& token, absl::flat_hash_set<std::string>& contents) {
  if (!token.is_object()) return;
  const auto content = token.find("content");
  if (content != token.end() && content->is_string()) contents.insert(content->get<std::string>());
}

class SettingsReader {
 public:
  SettingsReader(const SettingsFiles& files, const TokenizerClass& chosen, const Json& file,
                 const std::string& source)
      : files_(files), chosen_(chosen), file_(file), source_(source), fields_(files.config) {}

  absl::StatusOr<TokenizerSettings> read();

 private:
  void collect_own_tokens();
  absl::Status read_decoder(const SettingsField& decoder);
  void merge_special_tokens_map();
  void merge_extra_list(const SettingsField& field);
  absl::Status read_added_tokens();
  absl::Status read_file_tokens();
  absl::Status name_tokens();
  absl::Status name_standard_tokens();
  absl::Status read_extra_tokens();
  void remember(int64_t id, TokenSpec token);
  std::vector<TokenSpec> tokens_to_add() const;
  void add_again(std::vector<AddedToken>& tokens) const;
  absl::Status read_flags(TokenizerSettings* out) const;

  const SettingsFiles& files_;
  const TokenizerClass& chosen_;
  const Json& file_;
  const std::string& source_;
  SettingsFields fields_;           // of tokenizer_config.json, special_tokens_map.json on top
  std::vector<SettingsField> own_;  // tokens with names of the model's own
  // Tokens with ids. The ids say the order and no more: a vocabulary numbers its tokens itself.
  std::map<int64_t, TokenSpec> by_id_;
  absl::flat_hash_map<std::string, TokenSpec> by_content_;
  NamedTokens named_;
  std::vector<TokenSpec> extra_;
};

void SettingsReader::remember(int64_t id, TokenSpec token) {
  by_content_.insert_or_assign(token.content, token);
  by_id_.insert_or_assign(id, std::move(token));
}

// "image_token": "<image>" and extra_special_tokens by name.
void SettingsReader::collect_own_tokens() {
  for (const SettingsField& field : fields_.all()) {
    if (field.value.is_string() && field.key.ends_with("_token") && !is_standard(field.key)) {
      own_.push_back(field);
    }
  }
  for (const SettingsField& field : own_) fields_.erase(field.key);
  for (SettingsField& field : fields_.take_object(kExtra)) set_field(own_, std::move(field));
  if (own_.empty()) own_ = fields_.take_object(kOwn);
}

absl::Status SettingsReader::read_decoder(const SettingsField& decoder) {
  if (!decoder.value.is_object()) {
    return bad_file(place(decoder), absl::StrCat("must be an object of id: token, not ",
                                                 decoder.value.type_name()));
  }
  for (const auto& [key, value] : decoder.value.items()) {
    const std::string where = absl::StrCat(place(decoder), "[", in_quotes(key), "]");
    int64_t id = 0;
    if (!absl::SimpleAtoi(key, &id)) return bad_file(where, "the key must be a token id");
    if (!value.is_object()) {
      return bad_file(where, absl::StrCat("must be a token object, not ", value.type_name()));
    }
    ASSIGN_OR_RETURN(TokenSpec token, token_spec_from_json(value, where));
    remember(id, std::move(token));
  }
  return absl::OkStatus();
}

void SettingsReader::merge_extra_list(const SettingsField& field) {
  const SettingsField* known = fields_.find(kExtra);
  Json list = known != nullptr && known->value.is_array() ? known->value : Json::array();
  for (Json token : field.value) {
    if (token.is_object()) {
      mark_as_read(token);
    }
    if (std::find(list.begin(), list.end(), token) == list.end()) list.push_back(std::move(token));
  }
  fields_.set({kExtra, std::move(list), field.file});
}

void SettingsReader::merge_special_tokens_map() {
  SettingsFields map = files_.special_tokens_map;
  const bool by_name = map.has(kExtra) && map.find(kExtra)->value.is_object();
  if (by_name) fields_.erase(kExtra);
  const std::vector<SettingsField> named = map.take_object(kExtra);
  for (SettingsField field : map.all()) {
    if (field.key == kExtra && field.value.is_array()) {
      merge_extra_list(field);
      continue;
    }
    if (field.value.is_object()) {
      mark_as_read(field.value);
    }
    fields_.set(std::move(field));
  }
  for (const SettingsField& field : named) set_field(own_, field);
}

absl::Status SettingsReader::read_added_tokens() {
  if (files_.added_tokens.is_null()) return absl::OkStatus();
  absl::flat_hash_set<std::string> special;
  const auto note = [&special](const Json& token) {
    if (token.is_string()) special.insert(token.get<std::string>());
    if (token.is_object() && token.contains(kRead)) note_content(token, special);
  };
  for (const char* key : kStandard) {
    if (const SettingsField* field = fields_.find(key)) note(field->value);
  }
  if (const SettingsField* extra = fields_.find(kExtra);
      extra != nullptr && extra->value.is_array()) {
    for (const Json& token : extra->value) note(token);
  }
  for (const auto& [content, id] : files_.added_tokens.items()) {
    if (!id.is_number_integer()) {
      return bad_file(files_.added_tokens_file,
                      absl::StrCat("the id of ", in_quotes(content),
                                   " must be a whole number, not ", id.type_name()));
    }
    TokenSpec token;
    token.content = content;
    token.plain = false;
    token.special = special.contains(content);
    token.normalized = !token.special;
    remember(id.get<int64_t>(), std::move(token));
  }
  return absl::OkStatus();
}

absl::Status SettingsReader::read_file_tokens() {
  ASSIGN_OR_RETURN(const Json* tokens, array_field(file_, "added_tokens", source_));
  for (size_t i = 0; tokens != nullptr && i < tokens->size(); ++i) {
    const std::string where = absl::StrCat(source_, ": added_tokens[", i, "]");
    const Json& json = (*tokens)[i];
    if (!json.is_object()) {
      return bad_file(where, absl::StrCat("must be an object, not ", json.type_name()));
    }
    ASSIGN_OR_RETURN(TokenSpec token, token_spec_from_json(json, where));
    ASSIGN_OR_RETURN(const int64_t id, int_field(json, "id", -1, where));
    remember(id, std::move(token));
  }
  return absl::OkStatus();
}

absl::Status SettingsReader::name_standard_tokens() {
  for (const char* key : kStandard) {
    const SettingsField* field = fields_.find(key);
    if (field == nullptr || field->value.is_null()) continue;
    ASSIGN_OR_RETURN(TokenSpec token, token_spec_from_json(field->value, place(*field)));
    const auto known = by_content_.find(token.content);
    set_named(named_, key, known != by_content_.end() ? known->second : std::move(token));
  }
  for (const auto& [key, content] : chosen_.tokens) {
    if (fields_.has(key) || *content == '\0') continue;
    set_named(named_, key, TokenSpec::special_text(content));
  }
  // A file made for padded batches names its token there.
  const auto padding = file_.find("padding");
  const bool pads = padding != file_.end() && padding->is_object();
  const bool class_has_pad =
      std::any_of(chosen_.tokens.begin(), chosen_.tokens.end(),
                  [](const auto& token) { return std::string_view(token.first) == "pad_token"; });
  if (pads && !class_has_pad && !fields_.has("pad_token")) {
    ASSIGN_OR_RETURN(std::string pad,
                     string_field(*padding, "pad_token", "", absl::StrCat(source_, ": padding")));
    set_named(named_, "pad_token", TokenSpec::special_text(std::move(pad)));
  }
  // New tokens are numbered in the order of kStandard.
  const auto earlier = [](const auto& a, const auto& b) {
    const auto rank = [](const auto& entry) {
      return std::find(std::begin(kStandard), std::end(kStandard), entry.first);
    };
    return rank(a) < rank(b);
  };
  NamedTokens ordered;
  for (auto& entry : named_) {
    const auto at = std::upper_bound(ordered.begin(), ordered.end(), entry, earlier);
    ordered.insert(at, std::move(entry));
  }
  named_ = std::move(ordered);
  return absl::OkStatus();
}

absl::Status SettingsReader::read_extra_tokens() {
  if (!fields_.has(kExtra)) fields_.rename(kAdditional, kExtra);
  const SettingsField* field = fields_.find(kExtra);
  if (field == nullptr || field->value.is_null()) return absl::OkStatus();
  if (!field->value.is_array()) {
    return bad_file(place(*field),
                    absl::StrCat("must be a list of tokens or an object of name: token, not ",
                                 field->value.type_name()));
  }
  for (size_t i = 0; i < field->value.size(); ++i) {
    const Json& json = field->value[i];
    ASSIGN_OR_RETURN(TokenSpec token,
                     token_spec_from_json(json, absl::StrCat(place(*field), "[", i, "]")));
    if (json.is_object() && !is_written_token(json)) token.special = true;
    extra_.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status SettingsReader::name_tokens() {
  RETURN_IF_ERROR(name_standard_tokens());
  RETURN_IF_ERROR(read_extra_tokens());
  std::vector<SettingsField> others;
  for (const SettingsField& field : fields_.all()) {
    const bool token = field.value.is_string() || is_written_token(field.value);
    if (token && field.key.ends_with("_token") && !is_standard(field.key)) others.push_back(field);
  }
  for (const SettingsField& field : own_) set_field(others, field);
  for (const SettingsField& field : others) {
    ASSIGN_OR_RETURN(TokenSpec token, token_spec_from_json(field.value, place(field)));
    set_named(named_, field.key, std::move(token));
  }
  return absl::OkStatus();
}

// Those with ids, then the special ones that are not yet there.
std::vector<TokenSpec> SettingsReader::tokens_to_add() const {
  absl::flat_hash_set<std::string> there;
  absl::flat_hash_set<std::string> named;
  if (const auto tokens = file_.find("added_tokens");
      chosen_.follows_file() && tokens != file_.end()) {
    for (const Json& token : *tokens) note_content(token, there);
  }
  std::vector<TokenSpec> out;
  for (const auto& [id, token] : by_id_) {
    there.insert(token.content);
    out.push_back(token);
  }
  const auto with_ids = static_cast<std::ptrdiff_t>(out.size());
  const auto append = [&](const TokenSpec& token) {
    if (there.contains(token.content)) return;
    if (std::find(out.begin() + with_ids, out.end(), token) == out.end()) out.push_back(token);
  };
  for (const auto& [name, token] : named_) {
    named.insert(token.content);
    append(token);
  }
  for (const TokenSpec& token : extra_) append(token);
  for (TokenSpec& token : out) token.special = token.special || named.contains(token.content);
  return out;
}

void SettingsReader::add_again(std::vector<AddedToken>& tokens) const {
  if (chosen_.again == TokensAgain::kNo) return;
  std::vector<TokenSpec> all;
  for (const auto& [name, token] : named_) all.push_back(token);
  all.insert(all.end(), extra_.begin(), extra_.end());
  for (TokenSpec& token : all) {
    if (chosen_.again == TokensAgain::kWithoutFlags) token = TokenSpec::special_text(token.content);
    token.special = true;
    tokens.push_back(token.added());
  }
}

absl::Status SettingsReader::read_flags(TokenizerSettings* out) const {
  const auto flag = [this](const char* key) -> absl::StatusOr<std::optional<bool>> {
    const SettingsField* field = fields_.find(key);
    if (field == nullptr || field->value.is_null()) return std::optional<bool>();
    ASSIGN_OR_RETURN(const bool value,
                     bool_field(Json{{key, field->value}}, key, false, field->file));
    return std::optional<bool>(value);
  };
  ASSIGN_OR_RETURN(out->add_bos_token, flag("add_bos_token"));
  ASSIGN_OR_RETURN(out->add_eos_token, flag("add_eos_token"));
  ASSIGN_OR_RETURN(const std::optional<bool> split, flag("split_special_tokens"));
  out->split_special_tokens = split.value_or(false);
  ASSIGN_OR_RETURN(out->add_prefix_space, flag("add_prefix_space"));
  ASSIGN_OR_RETURN(const std::optional<bool> legacy, flag("legacy"));
  out->legacy = legacy.value_or(false);
  // Without the second setting transformers passes over the first for BPE, and so do we.
  if (fields_.filled("clean_up_tokenization_spaces") && fields_.filled(kForcedCleanUp)) {
    return bad_file(place(*fields_.find(kForcedCleanUp)),
                    "cleaning up spaces in decoded text is not supported; set it to false");
  }
  if (fields_.filled("fast_tokenizer_files")) {
    return bad_file(place(*fields_.find("fast_tokenizer_files")),
                    "tokenizer files by version are not supported; keep the newest as "
                    "tokenizer.json and remove this key");
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenizerSettings> SettingsReader::read() {
  for (const char* key : {"tokenizer_class", "add_bos_token", "add_eos_token"}) fields_.erase(key);
  if (fields_.has(kAdditional) && !fields_.filled(kExtra)) fields_.rename(kAdditional, kExtra);
  collect_own_tokens();
  if (const SettingsField* decoder = fields_.find(kDecoder)) {
    RETURN_IF_ERROR(read_decoder(*decoder));
  } else {
    merge_special_tokens_map();
    RETURN_IF_ERROR(read_added_tokens());
    RETURN_IF_ERROR(read_file_tokens());
  }
  RETURN_IF_ERROR(name_tokens());
  TokenizerSettings out;
  for (const TokenSpec& token : tokens_to_add()) out.tokens.push_back(token.added());
  add_again(out.tokens);
  for (const auto& [name, token] : named_) out.named.insert_or_assign(name, token.content);
  RETURN_IF_ERROR(read_flags(&out));
  return out;
}

}  // namespace

absl::StatusOr<TokenizerSettings> read_tokenizer_settings(const SettingsFiles& files,
                                                          const TokenizerClass& chosen,
                                                          const Json& file,
                                                          const std::string& source) {
  return SettingsReader(files, chosen, file, source).read();
}

}  // namespace conclave::coordinator
