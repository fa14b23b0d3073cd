#ifndef CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_H_

// A model folder's tokenizer (BPE) as Hugging Face transformers reads it. Immutable after loading; any thread.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// What encoding a text may cost.
struct EncodeLimits {
  size_t max_tokens = SIZE_MAX;
  const std::atomic<bool>* cancelled = nullptr;  // looked at now and then; null: never cancelled
};

struct BoundedEncoding {
  enum class End { kComplete, kTooLong, kCancelled };
  End end = End::kComplete;
  std::vector<int32_t> ids;  // kComplete
  size_t at_least = 0;       // kTooLong: the text has at least so many tokens; > max_tokens
};

// One decoding in progress; one thread at a time. Made by Tokenizer::new_stream().
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;
  // The text that this id makes certain: valid UTF-8, often "" while a character is incomplete.
  virtual std::string append(int32_t id) = 0;
  virtual std::string finish() = 0;  // the rest; nothing may be appended behind it
  virtual std::unique_ptr<DecodeStream> clone() const = 0;
};

// The texts of a model folder's files that say how text becomes tokens: all but the first may be
// absent.
struct TokenizerFiles {
  std::string folder;  // for errors
  std::string tokenizer_json;
  std::optional<std::string> tokenizer_config;    // tokenizer_config.json
  std::optional<std::string> special_tokens_map;  // special_tokens_map.json
  std::optional<std::string> added_tokens;        // added_tokens.json
  std::optional<std::string> model_config;        // config.json: model_type and tokenizer_class
};

class Tokenizer {
 public:
  // Errors are INVALID_ARGUMENT and name file and key. What a folder asks for and does not get is
  // logged once as a note.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> from_files(const TokenizerFiles& files);
  // tokenizer.json with tokenizer_config.json ("": absent) alone; source names the first in errors.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> from_json(
      std::string_view tokenizer_json, std::string_view tokenizer_config_json,
      std::string_view source);
  // Reads a model folder. Also NOT_FOUND and what reading can give.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> from_folder(const std::string& folder);
  virtual ~Tokenizer() = default;

  // Invalid UTF-8 in text becomes U+FFFD. Never fails on any input; special tokens in the text are
  // matched.
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const = 0;
  // The same ids, or the news that they are more than max_tokens, found without working the text out
  // to its end. This default does work it out.
  virtual BoundedEncoding encode_within(std::string_view text, bool add_special_tokens,
                                        const EncodeLimits& limits) const;
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const = 0;
  // The token's raw bytes (for logprobs "bytes") and printable string; unknown id: empty.
  virtual std::string token_bytes(int32_t id) const = 0;
  virtual std::string token_string(int32_t id) const = 0;  // as in the vocabulary, "Ġtar"
  virtual std::optional<int32_t> token_id(std::string_view token) const = 0;
  virtual bool is_special(int32_t id) const = 0;
  virtual int32_t vocab_size() const = 0;  // highest id + 1
  // The named special tokens by field: bos_token, eos_token, pad_token, .. and names of the model's
  // own (image_token); what chat templates know them by. A field without a token is absent.
  virtual const std::map<std::string, std::string>& special_tokens() const = 0;
  std::string bos_token() const { return special_token("bos_token"); }  // "" if none
  std::string eos_token() const { return special_token("eos_token"); }
  std::optional<int32_t> eos_id() const;

  // A decoding whose pieces joined are decode() of all ids. The tokenizer must outlive it. This
  // default decodes everything again for each id; tokenizers of from_json() work in constant time.
  virtual std::unique_ptr<DecodeStream> new_stream(bool skip_special_tokens) const;

 private:
  std::string special_token(const char* field) const;
};

// Incremental decoding of one output; not thread-safe, movable. For ids o1..on after a context p:
//   append(o1) + .. + append(on) + finish() == decode(p + o) less what it has in common, from the
//   start and in whole characters, with decode(p).
// So without a context the pieces are decode(o). With one, the first word of an answer keeps the
// space that decode(o) alone would strip (Metaspace, Strip), and a character that the context began
// is written when the output completes it. Every piece is valid UTF-8 and final. Bytes that may
// still become a character wait; with a ByteFallback decoder a run of byte tokens waits for its
// end, because one wrong byte makes all of the run U+FFFD. Work for an id does not grow with the
// number of ids before it.
class DetokenizerStream {
 public:
  DetokenizerStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens);
  // The ids before the output; before the first append(), at most once. Linear in their number.
  void set_context(std::span<const int32_t> prompt_ids);
  std::string append(int32_t id);
  std::string finish();  // what was held back, with U+FFFD for bytes that never became a character

 private:
  std::string without_context(std::string text);

  std::shared_ptr<const Tokenizer> tokenizer_;  // keeps alive what stream_ refers to
  std::unique_ptr<DecodeStream> stream_;
  std::string context_rest_;  // of decode(p), what stream_ had not released when p ended
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_TOKENIZER_H_
