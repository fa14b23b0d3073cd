#include "coordinator/openai/choice_text.h"

#include <utility>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {

ChoiceText::ChoiceText(std::shared_ptr<const Tokenizer> tokenizer, ChoiceTextOptions options)
    : options_(std::move(options)),
      detokenizer_(std::move(tokenizer), options_.skip_special_tokens),
      matcher_(options_.stop, options_.include_stop) {}

bool ChoiceText::feed(std::string_view text, bool armed, std::string* out) {
  const size_t before = out->size();
  if (armed) {
    stopped_ = matcher_.push(text, out);
  } else {
    matcher_.push_unarmed(text, out);
  }
  shown_bytes_ += static_cast<int64_t>(out->size() - before);
  decoded_bytes_ += static_cast<int64_t>(text.size());
  if (options_.track_tokens) decoded_code_points_ += count_code_points(text);
  return stopped_;
}

bool ChoiceText::push(int32_t id, std::string* out) {
  ++tokens_;
  const std::string text = detokenizer_.append(id);
  const int64_t begin = decoded_bytes_;
  last_token_offset_ = decoded_code_points_;
  feed(text, tokens_ > options_.min_tokens, out);
  if (options_.track_tokens) {
    waiting_.push_back({begin, kOpen});
    // A piece of a character shows nothing yet: it goes with the token that completes the
    // character.
    for (auto token = waiting_.rbegin();
         !text.empty() && token != waiting_.rend() && token->end == kOpen; ++token) {
      token->end = decoded_bytes_;
    }
    release();
  }
  return stopped_;
}

void ChoiceText::push_stop_token(int32_t id, std::string* out) {
  feed(detokenizer_.append(id), false, out);
}

bool ChoiceText::finish(std::string* out) {
  if (stopped_) return true;
  if (feed(detokenizer_.finish(), tokens_ > options_.min_tokens, out)) {
    release();
    return true;
  }
  const size_t before = out->size();
  matcher_.finish(out);
  shown_bytes_ += static_cast<int64_t>(out->size() - before);
  released_ += static_cast<int32_t>(waiting_.size());
  waiting_.clear();
  return false;
}

void ChoiceText::release() {
  while (!waiting_.empty()) {
    const Extent& token = waiting_.front();
    const bool shown =
        stopped_ ? token.begin < shown_bytes_ : token.end != kOpen && token.end <= shown_bytes_;
    if (!shown) break;
    ++released_;
    waiting_.pop_front();
  }
}

int32_t ChoiceText::take_released() { return std::exchange(released_, 0); }

}  // namespace conclave::coordinator
