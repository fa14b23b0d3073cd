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

// {"content":[{"token","logprob","bytes","top_logprobs":[…]}],"refusal":null}
void append_chat_logprobs(std::string* out, const LogprobsStyle& style,
                          std::span<const LogprobEntry> entries);
// {"tokens","token_logprobs","top_logprobs","text_offset"}; top_logprobs holds the token itself as
// well.
void append_completion_logprobs(std::string* out, const LogprobsStyle& style,
                                std::span<const LogprobEntry> entries);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_
