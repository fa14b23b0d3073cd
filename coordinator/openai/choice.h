#ifndef CONCLAVE_COORDINATOR_OPENAI_CHOICE_H_
#define CONCLAVE_COORDINATOR_OPENAI_CHOICE_H_

// One output of a request while it is generated: its text, its logprobs, how it ended.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/engine/engine.h"
#include "coordinator/openai/choice_text.h"
#include "coordinator/openai/logprobs_json.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

// What all choices of a request share.
struct ChoiceOptions {
  bool chat = true;
  ChoiceTextOptions text;
  int32_t top_logprobs = -1;  // -1: none
  bool tokens_as_ids = false;
  bool echo = false;
};

// Text and logprobs that became visible together.
struct ChoiceOutput {
  std::string text;
  std::vector<LogprobEntry> entries;
  bool empty() const { return text.empty() && entries.empty(); }
};

// Not thread-safe: lives on the connection's strand.
class Choice {
 public:
  Choice(std::shared_ptr<const Tokenizer> tokenizer, const ChoiceOptions& options,
         std::vector<int32_t> prompt);

  void add_prompt_part(PromptPart part);
  // The echoed prompt; to be called once, before the first token.
  ChoiceOutput echo();
  // True if a stop string is complete: the engine need not go on.
  bool add_token(GeneratedToken token, ChoiceOutput* output);
  // The engine's end: what was held back.
  void finish(const GenerationEnd& end, ChoiceOutput* output);

  bool text_ended() const { return text_ended_; }  // by stop string or finish()
  bool ended() const { return ended_; }
  void set_ended() { ended_ = true; }
  std::string_view finish_reason() const { return finish_reason_; }
  int32_t completion_tokens() const { return text_.tokens(); }
  int32_t cached_prompt_tokens() const { return cached_prompt_tokens_; }
  const std::vector<int32_t>& prompt() const { return prompt_; }
  // "null" if logprobs are not wanted.
  std::string logprobs_json(const std::vector<LogprobEntry>& entries) const;

  SequenceId sequence = 0;
  bool submitted = false;
  bool echoed = false;

 private:
  bool wants_logprobs() const { return options_.top_logprobs >= 0; }
  void release(ChoiceOutput* output);

  std::shared_ptr<const Tokenizer> tokenizer_;
  const ChoiceOptions options_;
  const std::vector<int32_t> prompt_;
  ChoiceText text_;
  std::vector<LogprobEntry> waiting_;          // tokens whose text is held back
  std::vector<LogprobEntry> prompt_logprobs_;  // [prompt], for echo
  int64_t echo_code_points_ = 0;
  bool text_ended_ = false;
  bool ended_ = false;
  std::string_view finish_reason_;
  int32_t cached_prompt_tokens_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_CHOICE_H_
