#include "coordinator/tokenizer/bpe_model.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "absl/strings/string_view.h"
#include "coordinator/tokenizer/byte_level.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kAbsent = -1;

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

// A merge that was possible when it was queued; order: lowest rank, then leftmost.
struct BpeModel::Candidate {
  uint32_t rank;
  int32_t position;
  int32_t id;
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

std::optional<int32_t> BpeModel::id_of(std::string_view token) const {
  const auto it = ids_.find(absl::string_view(token.data(), token.size()));
  if (it == ids_.end()) return std::nullopt;
  return it->second;
}

bool BpeModel::has_token(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < tokens_.size() &&
         tokens_[static_cast<size_t>(id)] != nullptr;
}

std::string_view BpeModel::token(int32_t id) const {
  return has_token(id) ? std::string_view(*tokens_[static_cast<size_t>(id)]) : std::string_view();
}

void BpeModel::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (cache_.lookup(word, ids)) return;
  const size_t start = ids.size();
  const std::optional<int32_t> whole = ignore_merges_ ? id_of(word) : std::nullopt;
  if (whole.has_value()) {
    ids.push_back(*whole);
  } else {
    merge_word(word, ids);
  }
  cache_.store(word, ids.data() + start, ids.size() - start);
}

void BpeModel::merge_word(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  first_symbols(word, symbols);
  merge_symbols(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

// Every token is the merger of at most as many first symbols as its own text has characters.
size_t BpeModel::least_tokens(std::string_view word) const {
  std::vector<int32_t> symbols;
  symbols.reserve(word.size());
  first_symbols(word, symbols);
  return (symbols.size() + longest_token_chars_ - 1) / longest_token_chars_;
}

bool BpeModel::has_symbol_for_any_character(bool byte_level) const {
  if (unknown_id_.has_value() && !fuse_unknown_) return true;
  const bool all_bytes = std::find(byte_tokens_.begin(), byte_tokens_.end(), kAbsent) == byte_tokens_.end();
  if (byte_fallback_ && all_bytes) return true;
  if (!byte_level || !prefix_.empty() || !suffix_.empty()) return false;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    const char c = static_cast<char>(byte);
    append_byte_chars(std::string_view(&c, 1), character);
    if (!id_of(character).has_value()) return false;
  }
  return true;
}

void BpeModel::measure_tokens() {
  for (const auto& [token, id] : ids_) {
    const auto chars = std::count_if(token.begin(), token.end(),
                                     [](char c) { return !is_continuation_byte(c); });
    longest_token_chars_ = std::max(longest_token_chars_, static_cast<size_t>(chars));
  }
}

std::optional<int32_t> BpeModel::symbol_id(std::string_view word, size_t begin, size_t end,
                                           std::string& spelled) const {
  const std::string_view character = word.substr(begin, end - begin);
  const bool prefixed = begin > 0 && !prefix_.empty();
  const bool suffixed = end == word.size() && !suffix_.empty();
  if (!prefixed && !suffixed) {
    size_t at = 0;
    const char32_t c = next_char(character, at);
    spelled = character;
    if (c < char_ids_.size()) {
      const int32_t id = char_ids_[c];
      return id == kAbsent ? std::nullopt : std::optional<int32_t>(id);
    }
    return id_of(character);
  }
  spelled = prefixed ? prefix_ : std::string();
  spelled += character;
  if (suffixed) spelled += suffix_;
  return id_of(spelled);
}

bool BpeModel::append_byte_tokens(std::string_view text, std::vector<int32_t>& symbols) const {
  const auto token_of = [this](char c) { return byte_tokens_[static_cast<unsigned char>(c)]; };
  if (std::any_of(text.begin(), text.end(), [&](char c) { return token_of(c) == kAbsent; })) {
    return false;
  }
  for (const char c : text) symbols.push_back(token_of(c));
  return true;
}

void BpeModel::first_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool unknown_pending = false;
  std::string spelled;
  for (size_t begin = 0; begin < word.size();) {
    const size_t end = begin + char_bytes(word[begin]);
    const std::optional<int32_t> id = symbol_id(word, begin, end, spelled);
    begin = end;
    if (id.has_value()) {
      if (unknown_pending) symbols.push_back(*unknown_id_);
      unknown_pending = false;
      symbols.push_back(*id);
      continue;
    }
    // A pending unknown token stays pending across byte tokens: the reference implementation does
    // so.
    if (byte_fallback_ && append_byte_tokens(spelled, symbols)) continue;
    if (!unknown_id_.has_value()) continue;
    if (unknown_pending && !fuse_unknown_) symbols.push_back(*unknown_id_);
    unknown_pending = true;
  }
  if (unknown_pending) symbols.push_back(*unknown_id_);
}

const BpeModel::Merge* BpeModel::merge_of(int32_t left, int32_t right) const {
  const auto it = merges_.find(pair_key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

// A heap of candidates; stale ones are recognised when they come up. O(n log n).
void BpeModel::merge_symbols(std::vector<int32_t>& symbols) const {
  const auto count = static_cast<int32_t>(symbols.size());
  if (count < 2) return;
  std::vector<Symbol> nodes(symbols.size());
  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    nodes[static_cast<size_t>(i)] = {symbols[static_cast<size_t>(i)], i - 1,
                                     i + 1 < count ? i + 1 : kAbsent, true};
  }
  const auto node = [&](int32_t i) -> Symbol& { return nodes[static_cast<size_t>(i)]; };
  const auto candidate = [&](int32_t i) -> std::optional<Candidate> {
    if (i == kAbsent || node(i).next == kAbsent) return std::nullopt;
    const Merge* merge = merge_of(node(i).id, node(node(i).next).id);
    if (merge == nullptr) return std::nullopt;
    return Candidate{merge->rank, i, merge->id};
  };
  for (int32_t i = 0; i < count; ++i) {
    if (const auto c = candidate(i)) storage.push_back(*c);
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(storage));

  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = node(top.position);
    if (!left.live || left.next == kAbsent) continue;
    Symbol& right = node(left.next);
    const Merge* merge = merge_of(left.id, right.id);
    if (merge == nullptr || merge->id != top.id) continue;
    left.id = top.id;
    left.next = right.next;
    right.live = false;
    if (left.next != kAbsent) node(left.next).previous = top.position;
    if (const auto c = candidate(left.previous)) queue.push(*c);
    if (const auto c = candidate(top.position)) queue.push(*c);
  }
  symbols.clear();
  for (const Symbol& symbol : nodes) {
    if (symbol.live) symbols.push_back(symbol.id);
  }
}

}  // namespace conclave::coordinator
