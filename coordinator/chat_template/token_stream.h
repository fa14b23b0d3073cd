#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_TOKEN_STREAM_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_TOKEN_STREAM_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/chat_template/lexer.h"

namespace conclave::coordinator::jinja {

// The parser's place in the token list, which ends in kEnd and is never left behind.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(size_t ahead = 0) const {
    const size_t index = at_ + ahead;
    return index < tokens_.size() ? tokens_[index] : tokens_.back();
  }
  const Token& next() {
    const Token& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  int line() const { return peek().line; }

  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_name(std::string_view name) const {
    return at(TokenKind::kName) && peek().text == name;
  }
  bool at_operator(std::string_view op) const {
    return at(TokenKind::kOperator) && peek().text == op;
  }
  bool skip_name(std::string_view name) {
    const bool found = at_name(name);
    if (found) next();
    return found;
  }
  bool skip_operator(std::string_view op) {
    const bool found = at_operator(op);
    if (found) next();
    return found;
  }

  // INVALID_ARGUMENT "line N: ...".
  absl::Status fail(std::string_view what) const;
  absl::Status fail_at(int line, std::string_view what) const;
  // "'text'" of the current token, or "the end of the template".
  std::string describe() const;
  absl::Status expect_operator(std::string_view op);
  absl::Status expect(TokenKind kind, std::string_view shown);

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_TOKEN_STREAM_H_
