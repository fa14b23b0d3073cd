#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_EXPRESSION_PARSER_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_EXPRESSION_PARSER_H_

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/ast.h"
#include "coordinator/chat_template/token_stream.h"

namespace conclave::coordinator::jinja {

// Recursive descent over Jinja's expression grammar. Nesting beyond kMaxSyntaxDepth is an error.
class ExpressionParser {
 public:
  using Result = absl::StatusOr<ExpressionPtr>;

  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  Result parse_expression();               // with `a if b else c`
  Result parse_without_conditional();      // the iterable of a for statement stops before `if`
  // Expressions separated by commas make a tuple. with_conditional as above; empty: `()` is fine.
  Result parse_tuple(bool with_conditional, bool may_be_empty);
  // `|filter` chain on `input`, which is null in filter and set blocks; null if there is none.
  Result parse_filters(ExpressionPtr input, bool first_without_pipe);

  static ExpressionPtr concatenation(ExpressionList parts);  // their texts, one after the other

  // Names read so far; the statement parser asks whether a macro's body used `caller`.
  std::vector<std::set<std::string>>& name_logs() { return name_logs_; }

 private:
  using Parse = Result (ExpressionParser::*)();

  Result finish(int line, Expression::Node node);
  Result parse_conditional();
  Result parse_logical(bool is_and);
  Result parse_or() { return parse_logical(false); }
  Result parse_not();
  Result parse_comparison();
  Result parse_sum();
  Result parse_concatenation();
  Result parse_product();
  Result parse_power();
  Result parse_unary(bool with_filters);
  Result parse_chain(Parse operand, const std::vector<std::pair<std::string_view, Arithmetic>>& ops);
  Result parse_primary();
  Result parse_name();
  Result parse_string();
  Result parse_list();
  Result parse_dict();
  Result parse_postfix(ExpressionPtr node);
  Result parse_filters_and_tests(ExpressionPtr node);
  Result parse_attribute(ExpressionPtr object);
  Result parse_subscript(ExpressionPtr object);
  Result parse_call(ExpressionPtr callee);
  Result parse_filter(ExpressionPtr input);
  Result parse_test(ExpressionPtr input);
  absl::StatusOr<std::string> parse_dotted_name();
  absl::StatusOr<CallArguments> parse_arguments();
  absl::Status parse_argument(CallArguments& arguments);

  TokenStream& stream_;
  int depth_ = 0;
  std::vector<std::set<std::string>> name_logs_;
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_EXPRESSION_PARSER_H_
