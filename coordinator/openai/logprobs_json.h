#ifndef CONCLAVE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_
#define CONCLAVE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "coordinator/tokenizer/tokenizer.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

struct LogprobEntry {
  int32_t token = 0;
  std::optional<float> logprob;             // none: first token of an echoed prompt
  std::vector<protocol::TokenLogprob> top;  // best first
  int64_t text_offset = 0;                  // code points before the token
};

struct LogprobsStyle {
  const Tokenizer* tokenizer = nullptr;
  int32_t top = 0;             // alternatives a token
  bool tokens_as_ids = false;  // "token_id:17" instead of text
};

// The object "logprobs" of a choice, in parts of one array each:
//   chat {"content":[{"token","logprob","bytes","top_logprobs":[…]}],"refusal":null}
//   completions {"tokens":[…],"token_logprobs":[…],"top_logprobs":[…],"text_offset":[…]}, where
//   top_logprobs holds the token itself as well.
class LogprobsFormat {
 public:
  LogprobsFormat(const LogprobsStyle& style, bool chat) : style_(style), chat_(chat) {}
  size_t parts() const { return chat_ ? 1 : 4; }
  void begin_part(std::string* out, size_t part) const;  // up to the array's "["
  // Without the commas between entries.
  void append_entry(std::string* out, size_t part, const LogprobEntry& entry) const;
  void end_part(std::string* out, size_t part) const;
  // The whole object.
  void append(std::string* out, std::span<const LogprobEntry> entries) const;

 private:
  const LogprobsStyle style_;
  const bool chat_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_
