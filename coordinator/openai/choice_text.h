#ifndef CONCLAVE_COORDINATOR_OPENAI_CHOICE_TEXT_H_
#define CONCLAVE_COORDINATOR_OPENAI_CHOICE_TEXT_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "coordinator/openai/stop_matcher.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

struct ChoiceTextOptions {
  bool skip_special_tokens = true;
  std::vector<std::string> stop;
  bool include_stop = false;
  int32_t min_tokens = 0;  // stop strings do not count in the text of the first min_tokens tokens
  bool track_tokens = false;  // count released tokens and offsets, for logprobs
};

// From the tokens of one choice to the text a client may see: detokenised, stop strings found,
// nothing shown that might begin one. Tokens are "released" when the last byte of their text is.
// Not thread-safe.
class ChoiceText {
 public:
  ChoiceText(std::shared_ptr<const Tokenizer> tokenizer, ChoiceTextOptions options);
  void set_context(std::span<const int32_t> prompt_ids) { detokenizer_.set_context(prompt_ids); }

  // Appends shown text to *out; true if a stop string is complete (push no more).
  bool push(int32_t id, std::string* out);
  // The stop token itself, where the client wants to see it: text alone, no token.
  void push_stop_token(int32_t id, std::string* out);
  // End without a stop string: appends what was held back and releases the remaining tokens.
  bool finish(std::string* out);

  int32_t tokens() const { return tokens_; }
  // Tokens released since the last call, in order. Tokens that lie wholly in a hidden stop string
  // never are.
  int32_t take_released();
  // Code points of decoded text before the token that was pushed last.
  int64_t last_token_offset() const { return last_token_offset_; }

 private:
  static constexpr int64_t kOpen = -1;
  struct Extent {
    int64_t begin = 0;    // bytes of decoded text
    int64_t end = kOpen;  // known once the token, or a later one, adds text
  };
  bool feed(std::string_view text, bool armed, std::string* out);
  void release();

  const ChoiceTextOptions options_;
  DetokenizerStream detokenizer_;
  StopMatcher matcher_;
  int32_t tokens_ = 0;
  int64_t decoded_bytes_ = 0;
  int64_t decoded_code_points_ = 0;
  int64_t last_token_offset_ = 0;
  int64_t shown_bytes_ = 0;
  bool stopped_ = false;
  std::deque<Extent> waiting_;  // tokens not released
  int32_t released_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_CHOICE_TEXT_H_
