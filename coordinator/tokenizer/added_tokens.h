#ifndef CONCLAVE_COORDINATOR_TOKENIZER_ADDED_TOKENS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_ADDED_TOKENS_H_

// Tokens that are found in the text as they stand, before the model sees it: special tokens and
// others that were added to a vocabulary.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "coordinator/tokenizer/bpe_model.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/normalizer.h"
#include "coordinator/tokenizer/piece_list.h"
#include "coordinator/tokenizer/regex.h"

namespace conclave::coordinator {

struct AddedToken {
  std::string content;
  std::string decoded;  // what decoding reads
  int32_t id = 0;
  bool single_word = false;  // only where no word character is next to it
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // and after it
  bool normalized = true;    // looked for in the normalised text, in normalised form
  // Decoding reads the normalised form. As in tokenizers 0.23, that stays so when the token is added
  // again and no longer normalised.
  bool decodes_normalized = false;
  bool special = false;      // skipped by decode(skip_special_tokens)
};

// Finds the longest of a set of strings at the leftmost place. Immutable; any thread.
class TokenTrie {
 public:
  // Of equal strings the first counts; the empty string never matches.
  void add(std::string_view text, int32_t value);
  struct Match {
    TextRange range;
    int32_t value;
  };
  std::optional<Match> find(std::string_view text, size_t from) const;
  bool empty() const { return values_.empty(); }

 private:
  absl::flat_hash_map<uint64_t, uint32_t> edges_;  // (node << 8 | byte) -> node
  std::vector<int32_t> values_;                    // by node; kNoToken where nothing ends
  std::vector<bool> starts_;                       // by byte
};

// Immutable after loading; any thread.
class AddedTokens {
 public:
  // json: the array "added_tokens" or nullptr; `more` come behind them. A token whose string the
  // model has gets the model's id; the others get the ids behind the model's, in order, as Hugging
  // Face tokenizers numbers them (a consistent file says the same ids). A string that comes again
  // keeps its id and gets the later flags. normalizer may be null. INVALID_ARGUMENT names the place.
  static absl::StatusOr<AddedTokens> from_json(const Json* json, std::span<const AddedToken> more,
                                               const BpeModel& model, const Normalizer* normalizer,
                                               const std::string& where);
  // Special tokens are no longer found in texts.
  void split_special_tokens() { finds_special_ = false; }

  // Cuts text on the tokens that are matched before (normalized false) or after normalisation.
  // Pieces are ranges of the text; token pieces carry their id.
  void split_raw(std::string_view text, std::vector<Piece>& pieces) const;
  void split_normalized(std::string_view text, std::vector<Piece>& pieces) const;

  std::optional<int32_t> id_of(std::string_view content) const;
  const AddedToken* find(int32_t id) const;
  // A string that is special under any of its ids.
  bool is_special(std::string_view content) const;
  int32_t highest_id() const { return highest_id_; }  // -1 if there is none
  bool swallows_white_space() const;                  // of any length, as part of a token
  size_t longest_chars() const;                       // characters of the longest one's text

 private:
  void split(const TokenTrie& trie, std::string_view text, std::vector<Piece>& pieces) const;
  absl::Status add(AddedToken token, const BpeModel& model, const std::string& where);
  void index(const Normalizer* normalizer);

  std::vector<AddedToken> tokens_;
  absl::flat_hash_map<int32_t, size_t> by_id_;  // -> tokens_
  absl::flat_hash_map<std::string, int32_t> by_content_;
  absl::flat_hash_map<std::string, bool> special_;
  TokenTrie raw_;
  TokenTrie normalized_;
  int32_t highest_id_ = -1;
  bool finds_special_ = true;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_ADDED_TOKENS_H_
