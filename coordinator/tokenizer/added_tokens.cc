#include "coordinator/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/pattern.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

// Where the character before `end` starts; end > 0.
size_t previous_char(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && is_continuation_byte(text[begin])) --begin;
  return begin;
}

bool word_char_before(std::string_view text, size_t end) {
  if (end == 0) return false;
  size_t at = previous_char(text, end);
  return is_word_char(next_char(text, at));
}

bool word_char_at(std::string_view text, size_t begin) {
  return begin < text.size() && is_word_char(next_char(text, begin));
}

size_t before_white_space(std::string_view text, size_t end) {
  while (end > 0) {
    const size_t begin = previous_char(text, end);
    size_t at = begin;
    if (!is_whitespace(next_char(text, at))) break;
    end = begin;
  }
  return end;
}

size_t after_white_space(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t at = begin;
    if (!is_whitespace(next_char(text, at))) break;
    begin = at;
  }
  return begin;
}

absl::StatusOr<AddedToken> token_from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) {
    return bad_file(where, absl::StrCat("must be an object, not ", json.type_name()));
  }
  AddedToken token;
  ASSIGN_OR_RETURN(token.content, string_field(json, "content", "", where));
  ASSIGN_OR_RETURN(const int64_t id, int_field(json, "id", -1, where));
  if (id < 0 || id > BpeModel::kMaxId) {
    return bad_file(where, absl::StrCat("\"id\" must be a number from 0 to ", BpeModel::kMaxId));
  }
  token.id = static_cast<int32_t>(id);
  ASSIGN_OR_RETURN(token.single_word, bool_field(json, "single_word", false, where));
  ASSIGN_OR_RETURN(token.lstrip, bool_field(json, "lstrip", false, where));
  ASSIGN_OR_RETURN(token.rstrip, bool_field(json, "rstrip", false, where));
  ASSIGN_OR_RETURN(token.special, bool_field(json, "special", false, where));
  ASSIGN_OR_RETURN(token.normalized, bool_field(json, "normalized", !token.special, where));
  return token;
}

}  // namespace

void TokenTrie::add(std::string_view text, int32_t value) {
  if (text.empty()) return;
  if (values_.empty()) {
    values_.push_back(kNoToken);
    starts_.assign(256, false);
  }
  starts_[static_cast<unsigned char>(text[0])] = true;
  uint32_t node = 0;
  for (const char c : text) {
    const uint64_t key = uint64_t{node} << 8 | static_cast<unsigned char>(c);
    const auto [it, is_new] = edges_.try_emplace(key, static_cast<uint32_t>(values_.size()));
    if (is_new) values_.push_back(kNoToken);
    node = it->second;
  }
  if (values_[node] == kNoToken) values_[node] = value;
}

std::optional<TokenTrie::Match> TokenTrie::find(std::string_view text, size_t from) const {
  if (empty()) return std::nullopt;
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Match> longest;
    uint32_t node = 0;
    for (size_t at = begin; at < text.size(); ++at) {
      const auto edge = edges_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[at]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (values_[node] != kNoToken) longest = Match{{begin, at + 1}, values_[node]};
    }
    if (longest.has_value()) return longest;
  }
  return std::nullopt;
}

absl::Status AddedTokens::add(AddedToken token, const BpeModel& model, const std::string& where) {
  if (token.content.empty()) return absl::OkStatus();
  if (const auto known = id_of(token.content)) {
    token.id = *known;
  } else if (const auto in_model = model.id_of(token.content)) {
    token.id = *in_model;
  } else {
    token.id = std::max(highest_id_ + 1, static_cast<int32_t>(model.token_count()));
  }
  if (token.id > BpeModel::kMaxId) {
    return bad_file(where, absl::StrCat("more than ", BpeModel::kMaxId, " tokens"));
  }
  highest_id_ = std::max(highest_id_, token.id);
  by_content_.insert_or_assign(token.content, token.id);
  if (token.special) special_.insert_or_assign(token.content, true);
  token.decodes_normalized = token.normalized;
  const auto [it, is_new] = by_id_.try_emplace(token.id, tokens_.size());
  if (is_new) {
    tokens_.push_back(std::move(token));
  } else {
    AddedToken& known = tokens_[it->second];
    token.decodes_normalized = token.normalized || known.decodes_normalized;
    known = std::move(token);
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedTokens> AddedTokens::from_json(const Json* json,
                                                   std::span<const AddedToken> more,
                                                   const BpeModel& model,
                                                   const Normalizer* normalizer,
                                                   const std::string& where) {
  AddedTokens added;
  for (size_t i = 0; json != nullptr && i < json->size(); ++i) {
    const std::string place = absl::StrCat(where, "[", i, "]");
    ASSIGN_OR_RETURN(AddedToken token, token_from_json((*json)[i], place));
    RETURN_IF_ERROR(added.add(std::move(token), model, place));
  }
  for (const AddedToken& token : more) RETURN_IF_ERROR(added.add(token, model, where));
  added.index(normalizer);
  return added;
}

void AddedTokens::index(const Normalizer* normalizer) {
  for (AddedToken& token : tokens_) {
    NormalizedText content{token.content, 0};
    if (normalizer != nullptr) {
      normalizer->apply(content, grown_text_limit(token.content.size()));
    }
    if (token.normalized) {
      normalized_.add(content.text, token.id);
    } else {
      raw_.add(token.content, token.id);
    }
    token.decoded = token.decodes_normalized ? std::move(content.text) : token.content;
  }
}

void AddedTokens::split_raw(std::string_view text, std::vector<Piece>& pieces) const {
  split(raw_, text, pieces);
}

void AddedTokens::split_normalized(std::string_view text, std::vector<Piece>& pieces) const {
  split(normalized_, text, pieces);
}

void AddedTokens::split(const TokenTrie& trie, std::string_view text,
                        std::vector<Piece>& pieces) const {
  size_t done = 0;
  size_t from = 0;
  while (const auto match = trie.find(text, from)) {
    size_t begin = match->range.begin;
    size_t end = match->range.end;
    from = end;
    const AddedToken& token = *find(match->value);
    if (!finds_special_ && is_special(token.content)) continue;
    if (token.single_word && (word_char_before(text, begin) || word_char_at(text, end))) continue;
    // A match may begin in white space that the one before has swallowed.
    if (token.lstrip) begin = std::max(before_white_space(text, begin), done);
    if (token.rstrip) end = after_white_space(text, end);
    if (begin >= end) continue;  // all of it was white space that is taken
    if (done < begin) pieces.push_back({done, begin, kNoToken});
    pieces.push_back({begin, end, token.id});
    done = end;
  }
  if (done != text.size()) pieces.push_back({done, text.size(), kNoToken});
}

std::optional<int32_t> AddedTokens::id_of(std::string_view content) const {
  const auto it = by_content_.find(absl::string_view(content.data(), content.size()));
  if (it == by_content_.end()) return std::nullopt;
  return it->second;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

bool AddedTokens::is_special(std::string_view content) const {
  return special_.contains(absl::string_view(content.data(), content.size()));
}

bool AddedTokens::swallows_white_space() const {
  return std::any_of(tokens_.begin(), tokens_.end(),
                     [](const AddedToken& token) { return token.lstrip || token.rstrip; });
}

size_t AddedTokens::longest_chars() const {
  size_t longest = 0;
  for (const AddedToken& token : tokens_) {
    for (const std::string* text : {&token.content, &token.decoded}) {
      const auto chars = std::count_if(text->begin(), text->end(),
                                       [](char c) { return !is_continuation_byte(c); });
      longest = std::max(longest, static_cast<size_t>(chars));
    }
  }
  return longest;
}

}  // namespace conclave::coordinator
