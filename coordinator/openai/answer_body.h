#ifndef CONCLAVE_COORDINATOR_OPENAI_ANSWER_BODY_H_
#define CONCLAVE_COORDINATOR_OPENAI_ANSWER_BODY_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/openai/logprob_store.h"
#include "coordinator/openai/response_format.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

struct FinishedChoice {
  std::string text;
  LogprobStore logprobs;
  std::string_view finish_reason;
};

struct LogprobsWish {
  std::shared_ptr<const Tokenizer> tokenizer;  // null: no logprobs are wanted
  int32_t top = 0;
  bool tokens_as_ids = false;
};

// The JSON of a whole answer, written piece by piece: as one text it can be many times what it is
// made of. Not thread-safe.
class AnswerBody {
 public:
  AnswerBody(ResponseIdentity identity, std::vector<FinishedChoice> choices, Usage usage,
             LogprobsWish logprobs);
  // Appends at least `bytes` bytes, or what is left. False: that was the end.
  bool next(std::string* out, size_t bytes);

 private:
  enum class Stage { kHead, kChoice, kLogprobs, kEnd, kDone };
  void step(std::string* out);
  void begin_choice(std::string* out);
  void step_logprobs(std::string* out);
  void end_choice(std::string* out);

  const ResponseIdentity identity_;
  std::vector<FinishedChoice> choices_;  // what is written is given up
  const Usage usage_;
  const LogprobsWish logprobs_;
  Stage stage_ = Stage::kHead;
  size_t choice_ = 0;
  size_t part_ = 0;   // of the logprobs object
  size_t entry_ = 0;  // of the part
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_ANSWER_BODY_H_
