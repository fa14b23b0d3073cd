#ifndef CONCLAVE_COORDINATOR_TOKENIZER_BPE_MODEL_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_BPE_MODEL_H_

// Byte-pair encoding: a word starts as one symbol per character; as long as a listed pair of
// neighbours is present, the pair that was listed first is merged, the leftmost one first.
// Source: Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units",
// ACL 2016 (arXiv 1508.07909), with the byte fallback of SentencePiece.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/word_cache.h"

namespace conclave::coordinator {

// Immutable after loading; any thread.
class BpeModel {
 public:
  static constexpr int32_t kMaxId = (1 << 22) - 1;  // ids index tables, so a wild one is refused

  // json: the "model" of a tokenizer file. INVALID_ARGUMENT names the place.
  static absl::StatusOr<std::unique_ptr<const BpeModel>> from_json(const Json& json,
                                                                   const std::string& where);

  // Appends the ids of one word (a piece that the pre-tokenizer left). Characters without a token
  // become byte tokens (byte_fallback), the unknown token, or nothing.
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;

  // No encoding of the word has fewer tokens. Linear, where encoding long words is not.
  size_t least_tokens(std::string_view word) const;

  // Characters of the longest token.
  size_t longest_token_chars() const { return longest_token_chars_; }
  // No character of a word is dropped or joined with others to one unknown token. byte_level: words
  // are of the 256 characters of byte_level.h.
  bool has_symbol_for_any_character(bool byte_level) const;

  std::optional<int32_t> id_of(std::string_view token) const;
  // "" if there is no such id.
  std::string_view token(int32_t id) const;
  bool has_token(int32_t id) const;
  size_t token_count() const { return ids_.size(); }
  int32_t highest_id() const { return static_cast<int32_t>(tokens_.size()) - 1; }

 private:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
    bool live;
  };
  struct Candidate;

  absl::Status load_options(const Json& json, const std::string& where);
  absl::Status load_vocab(const Json& json, const std::string& where);
  absl::Status load_merges(const Json& json, const std::string& where);
  absl::Status add_merge(std::string_view left, std::string_view right, const std::string& where);
  void index_characters();
  void measure_tokens();

  void merge_word(std::string_view word, std::vector<int32_t>& ids) const;
  // The symbols of a word before any merge.
  void first_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  // The id of the character at word[begin, end) with the prefix and suffix that its place asks for.
  std::optional<int32_t> symbol_id(std::string_view word, size_t begin, size_t end,
                                   std::string& spelled) const;
  bool append_byte_tokens(std::string_view text, std::vector<int32_t>& symbols) const;
  const Merge* merge_of(int32_t left, int32_t right) const;
  void merge_symbols(std::vector<int32_t>& symbols) const;

  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<const std::string*> tokens_;  // by id; null where an id has no token
  absl::flat_hash_map<uint64_t, Merge> merges_;
  std::array<int32_t, 256> byte_tokens_{};  // -1 where there is none
  std::vector<int32_t> char_ids_;           // of the characters below U+10000; -1
  std::string prefix_;                      // continuing_subword_prefix
  std::string suffix_;                      // end_of_word_suffix
  std::optional<int32_t> unknown_id_;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  size_t merge_count_ = 0;
  size_t longest_token_chars_ = 1;
  WordCache cache_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_BPE_MODEL_H_
