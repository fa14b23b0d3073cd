#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STATEMENT_PARSER_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STATEMENT_PARSER_H_

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/ast.h"
#include "coordinator/chat_template/expression_parser.h"
#include "coordinator/chat_template/token_stream.h"

namespace conclave::coordinator::jinja {

class StatementParser {
 public:
  explicit StatementParser(TokenStream& stream) : stream_(stream), expressions_(stream) {}

  // Until one of the named tags, whose name is then the current token; until the end of the template
  // if there are none.
  absl::StatusOr<Body> parse_body(std::initializer_list<std::string_view> end_tags);

 private:
  using Node = absl::StatusOr<Statement::Node>;

  absl::StatusOr<Statement> parse_statement();
  Node parse_tag(std::string_view tag);
  // From the end of an opening tag to `end_tag`, which is consumed but for its block end.
  absl::StatusOr<Body> parse_block(std::string_view end_tag);
  absl::StatusOr<Body> parse_block_until(std::initializer_list<std::string_view> end_tags);

  Node parse_if();
  Node parse_for();
  Node parse_set();
  Node parse_macro();
  Node parse_call_block();
  Node parse_filter_block();
  Node parse_with();
  Node parse_loop_control(bool is_break);
  Node parse_print();
  Node parse_inner_block();
  Node parse_autoescape();
  absl::StatusOr<std::vector<Parameter>> parse_signature();
  // A macro's or call block's body, which cannot break out to a loop around it.
  absl::Status parse_callable_body(std::string_view end_tag, Macro& macro);
  absl::StatusOr<Target> parse_target(bool namespace_allowed, bool in_for);
  absl::StatusOr<Target> parse_single_target(bool namespace_allowed);

  TokenStream& stream_;
  ExpressionParser expressions_;
  int depth_ = 0;
  std::set<std::string> blocks_;  // names so far
  int loops_ = 0;  // open in this callable
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_STATEMENT_PARSER_H_
