#include "coordinator/openai/answer_body.h"

#include <utility>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {

AnswerBody::AnswerBody(ResponseIdentity identity, std::vector<FinishedChoice> choices, Usage usage,
                       LogprobsWish logprobs)
    : identity_(std::move(identity)),
      choices_(std::move(choices)),
      usage_(usage),
      logprobs_(std::move(logprobs)) {}

bool AnswerBody::next(std::string* out, size_t bytes) {
  const size_t end = out->size() + bytes;
  while (stage_ != Stage::kDone && out->size() < end) step(out);
  return stage_ != Stage::kDone;
}

void AnswerBody::step(std::string* out) {
  switch (stage_) {
    case Stage::kHead:
      append_answer_head(out, identity_);
      stage_ = choices_.empty() ? Stage::kEnd : Stage::kChoice;
      return;
    case Stage::kChoice:
      return begin_choice(out);
    case Stage::kLogprobs:
      return step_logprobs(out);
    case Stage::kEnd:
      append_answer_end(out, usage_);
      stage_ = Stage::kDone;
      return;
    case Stage::kDone:
      return;
  }
}

void AnswerBody::begin_choice(std::string* out) {
  if (choice_ != 0) out->push_back(',');
  append_choice_head(out, identity_.chat, choice_, choices_[choice_].text);
  if (logprobs_.tokenizer == nullptr) {
    out->append("null");
    return end_choice(out);
  }
  part_ = entry_ = 0;
  stage_ = Stage::kLogprobs;
}

void AnswerBody::step_logprobs(std::string* out) {
  const LogprobStore& store = choices_[choice_].logprobs;
  const LogprobsFormat format({logprobs_.tokenizer.get(), logprobs_.top, logprobs_.tokens_as_ids},
                              identity_.chat);
  if (entry_ == 0) format.begin_part(out, part_);
  if (entry_ < store.size()) {
    if (entry_ != 0) out->push_back(',');
    format.append_entry(out, part_, store.at(entry_));
    ++entry_;
  }
  if (entry_ < store.size()) return;
  format.end_part(out, part_);
  entry_ = 0;
  if (++part_ == format.parts()) end_choice(out);
}

void AnswerBody::end_choice(std::string* out) {
  append_choice_end(out, choices_[choice_].finish_reason);
  choices_[choice_] = {};
  stage_ = ++choice_ == choices_.size() ? Stage::kEnd : Stage::kChoice;
}

}  // namespace conclave::coordinator
