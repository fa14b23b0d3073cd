#include "coordinator/chat_template/token_stream.h"

#include "absl/strings/str_cat.h"

namespace conclave::coordinator::jinja {

absl::Status TokenStream::fail_at(int line, std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", std::string(what)));
}

absl::Status TokenStream::fail(std::string_view what) const { return fail_at(line(), what); }

std::string TokenStream::describe() const {
  switch (peek().kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kText:
      return "text";
    case TokenKind::kString:
      return "a string";
    default:
      return absl::StrCat("'", peek().text, "'");
  }
}

absl::Status TokenStream::expect_operator(std::string_view op) {
  if (skip_operator(op)) return absl::OkStatus();
  return fail(absl::StrCat("expected '", std::string(op), "', got ", describe()));
}

absl::Status TokenStream::expect(TokenKind kind, std::string_view shown) {
  if (!at(kind)) {
    return fail(absl::StrCat("expected ", std::string(shown), ", got ", describe()));
  }
  next();
  return absl::OkStatus();
}

}  // namespace conclave::coordinator::jinja
