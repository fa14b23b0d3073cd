#include "coordinator/tokenizer/decode_steps.h"

#include <algorithm>
#include <utility>

#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

class Fuse final : public DecodeStep {
 public:
  std::unique_ptr<DecodeStep> clone() const override { return std::make_unique<Fuse>(*this); }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    out.push_back({std::move(part.text), !started_, false});
    started_ = true;
  }
  void finish(std::vector<TokenPart>& out) override { out.push_back({"", !started_, true}); }
  void rewrite_bytes(std::string&) const override {}

 private:
  bool started_ = false;
};

class ReplaceStep final : public DecodeStep {
 public:
  ReplaceStep(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::unique_ptr<DecodeStep> clone() const override {
    return std::make_unique<ReplaceStep>(*this);
  }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    if (part.first && part.last) {
      part.text = replaced(part.text);
      out.push_back(std::move(part));
      return;
    }
    begins_ = begins_ || part.first;
    held_ += part.text;
    if (part.last) {
      out.push_back({replaced(held_), begins_, true});
      held_.clear();
      begins_ = false;
    } else if (pattern_.is_literal() && !pattern_.literal().empty()) {
      std::string text = take_settled();
      out.push_back({replaced(text), begins_, false});
      begins_ = false;
    }
  }
  void finish(std::vector<TokenPart>&) override {}
  void rewrite_bytes(std::string& bytes) const override {
    if (is_valid_utf8(bytes)) bytes = replaced(bytes);
  }

 private:
  std::string replaced(std::string_view text) const {
    return pattern_.replace_all(text, content_, grown_text_limit(text.size()));
  }

  // Takes from held_ what no later part can change: all up to the last match, and beyond it all but
  // the characters in which another match may have begun.
  std::string take_settled() {
    const std::string& literal = pattern_.literal();
    size_t after_match = 0;
    for (size_t at = held_.find(literal); at != std::string::npos;
         at = held_.find(literal, after_match)) {
      after_match = at + literal.size();
    }
    size_t cut = held_.size();
    cut -= std::min(cut - after_match, literal.size() - 1);
    while (cut > after_match && cut < held_.size() && is_continuation_byte(held_[cut])) --cut;
    std::string text = held_.substr(0, cut);
    held_.erase(0, cut);
    return text;
  }

  Pattern pattern_;
  std::string content_;
  std::string held_;
  bool begins_ = false;
};

class Strip final : public DecodeStep {
 public:
  Strip(char32_t content, size_t start, size_t stop) : start_(start), stop_(stop) {
    append_char(content, content_);
  }
  std::unique_ptr<DecodeStep> clone() const override { return std::make_unique<Strip>(*this); }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    if (part.first) {
      leading_ = start_;
      held_ = 0;
    }
    std::string_view text = part.text;
    while (leading_ > 0 && text.substr(0, content_.size()) == content_) {
      text.remove_prefix(content_.size());
      --leading_;
    }
    if (!text.empty()) leading_ = 0;
    std::string kept;
    kept.reserve(text.size() + held_ * content_.size());
    for (; held_ > 0; --held_) kept += content_;
    kept += text;
    while (held_ < stop_ && kept.size() >= content_.size() &&
           std::string_view(kept).substr(kept.size() - content_.size()) == content_) {
      kept.resize(kept.size() - content_.size());
      ++held_;
    }
    out.push_back({std::move(kept), part.first, part.last});
  }
  void finish(std::vector<TokenPart>&) override {}
  void rewrite_bytes(std::string&) const override {}

 private:
  std::string content_;
  size_t start_;
  size_t stop_;
  size_t leading_ = 0;  // how many more may go at the start of this token
  size_t held_ = 0;     // characters at its end so far, which may turn out to be the last
};

class MetaspaceStep final : public DecodeStep {
 public:
  explicit MetaspaceStep(const MetaspaceOptions& options)
      : options_(options), drop_(options.prepend != MetaspaceOptions::Prepend::kNever) {}
  std::unique_ptr<DecodeStep> clone() const override {
    return std::make_unique<MetaspaceStep>(*this);
  }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    std::string text;
    text.reserve(part.text.size());
    for (size_t at = 0; at < part.text.size();) {
      const size_t begin = at;
      const bool mark = next_char(part.text, at) == options_.replacement;
      if (mark && !drop_) text += ' ';
      if (!mark) text.append(part.text, begin, at - begin);
    }
    if (part.last) drop_ = false;
    out.push_back({std::move(text), part.first, part.last});
  }
  void finish(std::vector<TokenPart>&) override {}
  void rewrite_bytes(std::string& bytes) const override {
    if (!is_valid_utf8(bytes)) return;
    std::string text;
    for (size_t at = 0; at < bytes.size();) {
      const char32_t c = next_char(bytes, at);
      append_char(c == options_.replacement ? U' ' : c, text);
    }
    bytes = std::move(text);
  }

 private:
  MetaspaceOptions options_;
  bool drop_;  // still in the first token
};

class WordEnd final : public DecodeStep {
 public:
  explicit WordEnd(std::string suffix) : suffix_(Pattern::from_literal(std::move(suffix))) {}
  std::unique_ptr<DecodeStep> clone() const override { return std::make_unique<WordEnd>(*this); }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    if (part.first) {
      release(" ", out);
      waiting_ = true;
    }
    held_ += part.text;
  }
  void finish(std::vector<TokenPart>& out) override { release("", out); }
  void rewrite_bytes(std::string& bytes) const override {
    if (is_valid_utf8(bytes))
      bytes = suffix_.replace_all(bytes, " ", grown_text_limit(bytes.size()));
  }

 private:
  void release(std::string_view replacement, std::vector<TokenPart>& out) {
    if (!waiting_) return;
    const size_t limit = grown_text_limit(held_.size());
    out.push_back({suffix_.replace_all(held_, replacement, limit), true, true});
    held_.clear();
    waiting_ = false;
  }

  Pattern suffix_;
  std::string held_;  // the latest token, until it is known whether it is the last
  bool waiting_ = false;
};

class Join final : public DecodeStep {
 public:
  std::unique_ptr<DecodeStep> clone() const override { return std::make_unique<Join>(*this); }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    if (part.first && started_) part.text.insert(0, " ");
    started_ = true;
    out.push_back(std::move(part));
  }
  void finish(std::vector<TokenPart>&) override {}
  void rewrite_bytes(std::string&) const override {}

 private:
  bool started_ = false;
};

}  // namespace

std::unique_ptr<DecodeStep> make_fuse_step() { return std::make_unique<Fuse>(); }

std::unique_ptr<DecodeStep> make_replace_step(Pattern pattern, std::string content) {
  return std::make_unique<ReplaceStep>(std::move(pattern), std::move(content));
}

std::unique_ptr<DecodeStep> make_strip_step(char32_t content, size_t start, size_t stop) {
  return std::make_unique<Strip>(content, start, stop);
}

std::unique_ptr<DecodeStep> make_metaspace_step(const MetaspaceOptions& options) {
  return std::make_unique<MetaspaceStep>(options);
}

std::unique_ptr<DecodeStep> make_word_end_step(std::string suffix) {
  return std::make_unique<WordEnd>(std::move(suffix));
}

std::unique_ptr<DecodeStep> make_join_step() { return std::make_unique<Join>(); }

}  // namespace conclave::coordinator
