#include "coordinator/openai/choice.h"

#include <algorithm>
#include <utility>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {

Choice::Choice(std::shared_ptr<const Tokenizer> tokenizer, const ChoiceOptions& options,
               std::vector<int32_t> prompt)
    : tokenizer_(std::move(tokenizer)),
      options_(options),
      prompt_(std::move(prompt)),
      text_(tokenizer_, options.text) {
  text_.set_context(prompt_);
  if (!options_.echo || !wants_logprobs()) return;
  prompt_logprobs_.resize(prompt_.size());
  for (size_t i = 0; i < prompt_.size(); ++i) prompt_logprobs_[i].token = prompt_[i];
}

void Choice::add_prompt_part(PromptPart part) {
  for (protocol::PromptLogprob& row : part.logprobs) {
    // The row predicts the token that follows it.
    const int64_t position = static_cast<int64_t>(part.start) + row.row + 1;
    if (position <= 0 || position >= static_cast<int64_t>(prompt_logprobs_.size())) continue;
    LogprobEntry& entry = prompt_logprobs_[static_cast<size_t>(position)];
    entry.logprob = row.target.logprob;
    entry.top = std::move(row.top);
  }
}

ChoiceOutput Choice::echo() {
  echoed = true;
  ChoiceOutput output;
  if (!options_.echo) return output;
  if (!wants_logprobs()) {
    output.text = tokenizer_->decode(prompt_, options_.text.skip_special_tokens);
    return output;
  }
  DetokenizerStream stream(tokenizer_, options_.text.skip_special_tokens);
  for (LogprobEntry& entry : prompt_logprobs_) {
    entry.text_offset = echo_code_points_;
    const std::string piece = stream.append(entry.token);
    echo_code_points_ += count_code_points(piece);
    output.text.append(piece);
  }
  const std::string rest = stream.finish();
  echo_code_points_ += count_code_points(rest);
  output.text.append(rest);
  output.entries = std::move(prompt_logprobs_);
  return output;
}

bool Choice::add_token(GeneratedToken token, ChoiceOutput* output) {
  const bool stopped = text_.push(token.id, &output->text);
  if (wants_logprobs()) {
    LogprobEntry entry;
    entry.token = token.id;
    entry.logprob = token.logprob;
    entry.top = std::move(token.top);
    entry.text_offset = echo_code_points_ + text_.last_token_offset();
    waiting_.push_back(std::move(entry));
    release(output);
  }
  if (stopped) {
    text_ended_ = true;
    finish_reason_ = "stop";
  }
  return stopped;
}

void Choice::release(ChoiceOutput* output) {
  const auto count = std::min(waiting_.size(), static_cast<size_t>(text_.take_released()));
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(count);
  std::move(waiting_.begin(), end, std::back_inserter(output->entries));
  waiting_.erase(waiting_.begin(), end);
}

void Choice::finish(const GenerationEnd& end, ChoiceOutput* output) {
  cached_prompt_tokens_ = end.cached_prompt_tokens;
  if (text_ended_) return;
  text_ended_ = true;
  const bool stop_string = text_.finish(&output->text);
  if (!stop_string && end.stop_token.has_value() && options_.text.include_stop) {
    text_.push_stop_token(*end.stop_token, &output->text);
  }
  if (wants_logprobs()) release(output);
  finish_reason_ = stop_string || end.reason == FinishReason::kStop ? "stop" : "length";
}

std::string Choice::logprobs_json(const std::vector<LogprobEntry>& entries) const {
  if (!wants_logprobs()) return "null";
  const LogprobsStyle style{tokenizer_.get(), options_.top_logprobs, options_.tokens_as_ids};
  std::string out;
  LogprobsFormat(style, options_.chat).append(&out, entries);
  return out;
}

}  // namespace conclave::coordinator
