#ifndef CONCLAVE_COORDINATOR_TOKENIZER_DECODER_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_DECODER_H_

// Token strings to text, as a chain of steps that work on a stream: decoding a whole sequence and
// decoding token by token are one piece of code, so they cannot differ.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

// A part of one token's text, whole characters. A token may come in several parts, because some
// steps make the rest of the stream one long token.
struct TokenPart {
  std::string text;
  bool first;  // begins a token
  bool last;   // ends it
};

// One decoder of a tokenizer file with the state of one stream. One thread at a time.
class DecodeStep {
 public:
  virtual ~DecodeStep() = default;
  virtual std::unique_ptr<DecodeStep> clone() const = 0;
  virtual void push(TokenPart part, std::vector<TokenPart>& out) = 0;
  virtual void finish(std::vector<TokenPart>& out) = 0;  // the stream has ended
  // What the step makes of one token's bytes, apart from its place in the stream and from the
  // characters that its neighbours complete (for a token's "bytes" in logprobs).
  virtual void rewrite_bytes(std::string& bytes) const = 0;
};

// The chain. Copies take the state along.
class DecodeChain {
 public:
  DecodeChain() = default;
  DecodeChain(const DecodeChain& other);
  DecodeChain& operator=(const DecodeChain& other);
  DecodeChain(DecodeChain&&) = default;
  DecodeChain& operator=(DecodeChain&&) = default;

  // json: the "decoder" of a tokenizer file; null joins tokens with spaces. INVALID_ARGUMENT names
  // the place.
  static absl::StatusOr<DecodeChain> from_json(const Json& json, const std::string& where);

  // Appends the text that has become certain.
  void push(std::string_view token, std::string& text);
  void finish(std::string& text);
  std::string bytes_of(std::string_view token) const;

 private:
  absl::Status add(const Json& json, const std::string& where);
  // Sends `parts` through the steps from `from` on.
  void run(std::vector<TokenPart> parts, size_t from, std::string& text);

  std::vector<std::unique_ptr<DecodeStep>> steps_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_DECODER_H_
