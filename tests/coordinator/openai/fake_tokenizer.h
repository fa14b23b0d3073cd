#ifndef CONCLAVE_TESTS_COORDINATOR_OPENAI_FAKE_TOKENIZER_H_
#define CONCLAVE_TESTS_COORDINATOR_OPENAI_FAKE_TOKENIZER_H_

#include <map>
#include <string>
#include <vector>

#include "coordinator/http/json_text.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

// Ids 0..255 are the bytes; the following ones are the given pieces; the last is the special
// "<eos>".
class FakeTokenizer : public Tokenizer {
 public:
  explicit FakeTokenizer(std::vector<std::string> pieces = {}) : pieces_(std::move(pieces)) {}

  int32_t piece(size_t index) const { return static_cast<int32_t>(256 + index); }
  int32_t eos() const { return static_cast<int32_t>(256 + pieces_.size()); }

  std::vector<int32_t> encode(std::string_view text, bool) const override {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override {
    std::string bytes;
    for (const int32_t id : ids) {
      if (!(skip_special_tokens && is_special(id))) bytes += token_bytes(id);
    }
    return valid_utf8(bytes);
  }
  std::string token_bytes(int32_t id) const override {
    if (id < 0) return "";
    if (id < 256) return std::string(1, static_cast<char>(id));
    if (id < eos()) return pieces_[static_cast<size_t>(id - 256)];
    return id == eos() ? eos_ : "";
  }
  std::string token_string(int32_t id) const override { return valid_utf8(token_bytes(id)); }
  std::optional<int32_t> token_id(std::string_view token) const override {
    if (token == eos_) return eos();
    return std::nullopt;
  }
  bool is_special(int32_t id) const override { return id == eos(); }
  int32_t vocab_size() const override { return eos() + 1; }
  const std::map<std::string, std::string>& special_tokens() const override { return named_; }

 private:
  const std::vector<std::string> pieces_;
  const std::string eos_ = "<eos>";
  const std::map<std::string, std::string> named_ = {{"eos_token", eos_}};
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_OPENAI_FAKE_TOKENIZER_H_
