#include <algorithm>
#include <utility>

#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

// For tokenizers that bring no stream of their own: decodes all ids each time. Text is certain once
// it does not end in U+FFFD, which a next token may turn into a character.
class HistoryStream final : public DecodeStream {
 public:
  HistoryStream(const Tokenizer* tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  std::string append(int32_t id) override {
    ids_.push_back(id);
    std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
    const size_t tail = kReplacementCharacter.size();
    while (text.size() >= tail &&
           text.compare(text.size() - tail, tail, kReplacementCharacter) == 0) {
      text.resize(text.size() - tail);
    }
    return release(text);
  }
  std::string finish() override { return release(tokenizer_->decode(ids_, skip_special_tokens_)); }
  std::unique_ptr<DecodeStream> clone() const override {
    return std::make_unique<HistoryStream>(*this);
  }

 private:
  std::string release(const std::string& text) {
    const size_t from = std::min(released_, text.size());
    released_ = std::max(released_, text.size());
    return text.substr(from);
  }

  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;
  size_t released_ = 0;
};

}  // namespace

std::unique_ptr<DecodeStream> Tokenizer::new_stream(bool skip_special_tokens) const {
  return std::make_unique<HistoryStream>(this, skip_special_tokens);
}

DetokenizerStream::DetokenizerStream(std::shared_ptr<const Tokenizer> tokenizer,
                                     bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), stream_(tokenizer_->new_stream(skip_special_tokens)) {}

void DetokenizerStream::set_context(std::span<const int32_t> prompt_ids) {
  for (const int32_t id : prompt_ids) stream_->append(id);
  context_rest_ = stream_->clone()->finish();
}

std::string DetokenizerStream::append(int32_t id) { return without_context(stream_->append(id)); }

std::string DetokenizerStream::finish() { return without_context(stream_->finish()); }

std::string DetokenizerStream::without_context(std::string text) {
  if (context_rest_.empty() || text.empty()) return text;
  const size_t shorter = std::min(text.size(), context_rest_.size());
  size_t same = 0;
  while (same < shorter && text[same] == context_rest_[same]) ++same;
  const bool differs = same < shorter;
  while (differs && same > 0 && is_continuation_byte(text[same])) --same;
  if (differs) {
    context_rest_.clear();
  } else {
    context_rest_.erase(0, same);
  }
  text.erase(0, same);
  return text;
}

}  // namespace conclave::coordinator
