// The decode steps that put bytes together to characters.

#include <optional>
#include <utility>

#include "coordinator/tokenizer/byte_level.h"
#include "coordinator/tokenizer/decode_steps.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

// Bytes to text; keeps the beginning of a character until it is complete or turns out wrong.
class Utf8Assembler {
 public:
  void push(std::string_view bytes, std::string& text) {
    held_ += bytes;
    const std::string_view all = held_;
    size_t at = 0;
    while (at < all.size()) {
      const Utf8Prefix prefix = classify_utf8(all.substr(at));
      if (prefix.kind == Utf8Prefix::Kind::kCut) break;
      const bool good = prefix.kind == Utf8Prefix::Kind::kCharacter;
      text += good ? all.substr(at, prefix.length) : kReplacementCharacter;
      at += prefix.length;
    }
    held_.erase(0, at);
  }
  void finish(std::string& text) {
    if (!held_.empty()) text += kReplacementCharacter;
    held_.clear();
  }

 private:
  std::string held_;
};

class ByteLevel final : public DecodeStep {
 public:
  std::unique_ptr<DecodeStep> clone() const override { return std::make_unique<ByteLevel>(*this); }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    // Whether a token maps to bytes is known at its end only.
    token_ += part.text;
    if (!part.last) return;
    std::string bytes;
    append_token_bytes(token_, bytes);
    token_.clear();
    std::string text;
    assembler_.push(bytes, text);
    out.push_back({std::move(text), !started_, false});
    started_ = true;
  }
  void finish(std::vector<TokenPart>& out) override {
    std::string text;
    assembler_.finish(text);
    out.push_back({std::move(text), !started_, true});
  }
  void rewrite_bytes(std::string& bytes) const override {
    if (!is_valid_utf8(bytes)) return;
    std::string mapped;
    append_token_bytes(bytes, mapped);
    bytes = std::move(mapped);
  }

 private:
  Utf8Assembler assembler_;
  std::string token_;
  bool started_ = false;
};

// The byte of "<0x4f>". A sign in place of the first digit is read as the reference reads it.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return std::nullopt;
  int value = 0;
  for (size_t i = 3; i < 5; ++i) {
    const char c = token[i];
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else if (c != '+' || i != 3) {
      return std::nullopt;
    }
    value = value * 16 + digit;
  }
  return static_cast<char>(value);
}

class ByteFallback final : public DecodeStep {
 public:
  std::unique_ptr<DecodeStep> clone() const override {
    return std::make_unique<ByteFallback>(*this);
  }
  void push(TokenPart part, std::vector<TokenPart>& out) override {
    if (part.first && part.last) {
      push_token(std::move(part.text), out);
      return;
    }
    if (part.first) {
      undecided_ = true;
      token_.clear();
    }
    if (!undecided_) {
      out.push_back(std::move(part));
      return;
    }
    token_ += part.text;
    constexpr size_t kByteTokenLength = 6;
    if (part.last) {
      push_token(std::move(token_), out);
      token_.clear();
    } else if (token_.size() > kByteTokenLength) {
      release(out);
      out.push_back({std::move(token_), true, false});
      token_.clear();
      undecided_ = false;
    }
  }
  void finish(std::vector<TokenPart>& out) override { release(out); }
  void rewrite_bytes(std::string& bytes) const override {
    if (const std::optional<char> byte = fallback_byte(bytes)) bytes.assign(1, *byte);
  }

 private:
  void push_token(std::string token, std::vector<TokenPart>& out) {
    if (const std::optional<char> byte = fallback_byte(token)) {
      run_.push_back(*byte);
      return;
    }
    release(out);
    out.push_back({std::move(token), true, true});
  }

  void release(std::vector<TokenPart>& out) {
    if (run_.empty()) return;
    if (is_valid_utf8(run_)) {
      out.push_back({run_, true, true});
    } else {
      for (size_t i = 0; i < run_.size(); ++i) {
        out.push_back({std::string(kReplacementCharacter), true, true});
      }
    }
    run_.clear();
  }

  std::string run_;    // of byte tokens
  std::string token_;  // one that comes in parts and may be a byte token
  bool undecided_ = false;
};

}  // namespace

std::unique_ptr<DecodeStep> make_byte_level_step() { return std::make_unique<ByteLevel>(); }
std::unique_ptr<DecodeStep> make_byte_fallback_step() { return std::make_unique<ByteFallback>(); }

}  // namespace conclave::coordinator
