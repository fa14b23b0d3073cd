#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LEXER_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::coordinator::jinja {

enum class TokenKind {
  kText,           // template data, whitespace control already applied
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;     // data, name, operator, or the string's value
  int64_t integer = 0;  // value of kInteger
  double real = 0;      // value of kFloat
};

// Splits a template as Jinja does with trim_blocks and lstrip_blocks on and keep_trailing_newline
// off: comments are dropped, raw blocks become text, the last token is kEnd.
// Errors: INVALID_ARGUMENT "line N: ...".
absl::StatusOr<std::vector<Token>> tokenize(std::string_view source);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LEXER_H_
