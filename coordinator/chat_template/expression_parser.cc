#include "coordinator/chat_template/expression_parser.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/budget.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
    {"==", Comparison::kEqual},   {"!=", Comparison::kNotEqual}, {"<", Comparison::kLess},
    {"<=", Comparison::kLessEqual}, {">", Comparison::kGreater}, {">=", Comparison::kGreaterEqual}};

// Counts one level of nesting for as long as it lives.
class DepthGuard {
 public:
  explicit DepthGuard(int& depth) : depth_(depth) { ++depth_; }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int& depth_;
};

}  // namespace

ExpressionParser::Result ExpressionParser::finish(int line, Expression::Node node) {
  auto expression = std::make_unique<Expression>();
  expression->line = line;
  expression->node = std::move(node);
  int deepest = 0;
  for_each_child(*expression, [&](const Expression& child) {
    deepest = std::max(deepest, child.depth);
  });
  expression->depth = deepest + 1;
  if (expression->depth > kMaxSyntaxDepth) {
    return stream_.fail_at(line, "the expression is nested too deeply");
  }
  return expression;
}

ExpressionPtr ExpressionParser::concatenation(ExpressionList parts) {
  if (parts.size() == 1) return std::move(parts[0]);
  auto expression = std::make_unique<Expression>();
  for (const ExpressionPtr& part : parts) {
    expression->line = expression->line == 0 ? part->line : expression->line;
    expression->depth = std::max(expression->depth, part->depth + 1);
  }
  expression->node = Concatenation{std::move(parts)};
  return expression;
}

ExpressionParser::Result ExpressionParser::parse_expression() { return parse_conditional(); }
ExpressionParser::Result ExpressionParser::parse_without_conditional() { return parse_or(); }

ExpressionParser::Result ExpressionParser::parse_conditional() {
  const DepthGuard guard(depth_);
  if (depth_ > kMaxSyntaxDepth) return stream_.fail("the expression is nested too deeply");
  const int line = stream_.line();
  ASSIGN_OR_RETURN(ExpressionPtr value, parse_or());
  while (stream_.skip_name("if")) {
    Conditional node;
    node.then_value = std::move(value);
    ASSIGN_OR_RETURN(node.condition, parse_or());
    if (stream_.skip_name("else")) {
      ASSIGN_OR_RETURN(node.else_value, parse_conditional());
    }
    ASSIGN_OR_RETURN(value, finish(line, std::move(node)));
  }
  return value;
}

ExpressionParser::Result ExpressionParser::parse_logical(bool is_and) {
  const int line = stream_.line();
  const auto operand = [&] { return is_and ? parse_not() : parse_logical(true); };
  ASSIGN_OR_RETURN(ExpressionPtr first, operand());
  if (!stream_.at_name(is_and ? "and" : "or")) return first;
  Logical node{.is_and = is_and, .operands = {}};
  node.operands.push_back(std::move(first));
  while (stream_.skip_name(is_and ? "and" : "or")) {
    ASSIGN_OR_RETURN(ExpressionPtr next, operand());
    node.operands.push_back(std::move(next));
  }
  return finish(line, std::move(node));
}

ExpressionParser::Result ExpressionParser::parse_not() {
  const int line = stream_.line();
  if (!stream_.skip_name("not")) return parse_comparison();
  const DepthGuard guard(depth_);
  if (depth_ > kMaxSyntaxDepth) return stream_.fail("the expression is nested too deeply");
  ASSIGN_OR_RETURN(ExpressionPtr operand, parse_not());
  return finish(line, Not{std::move(operand)});
}

ExpressionParser::Result ExpressionParser::parse_comparison() {
  const int line = stream_.line();
  ASSIGN_OR_RETURN(ExpressionPtr first, parse_sum());
  ComparisonChain node;
  for (;;) {
    std::optional<Comparison> comparison;
    for (const auto& [symbol, value] : kComparisons) {
      if (stream_.at_operator(symbol)) comparison = value;
    }
    if (comparison) {
      stream_.next();
    } else if (stream_.skip_name("in")) {
      comparison = Comparison::kIn;
    } else if (stream_.at_name("not") && stream_.peek(1).kind == TokenKind::kName &&
               stream_.peek(1).text == "in") {
      stream_.next();
      stream_.next();
      comparison = Comparison::kNotIn;
    } else {
      break;
    }
    ASSIGN_OR_RETURN(ExpressionPtr operand, parse_sum());
    node.rest.emplace_back(*comparison, std::move(operand));
  }
  if (node.rest.empty()) return first;
  node.first = std::move(first);
  return finish(line, std::move(node));
}

ExpressionParser::Result ExpressionParser::parse_chain(
    Parse operand, const std::vector<std::pair<std::string_view, Arithmetic>>& ops) {
  const int line = stream_.line();
  ASSIGN_OR_RETURN(ExpressionPtr first, (this->*operand)());
  ArithmeticChain node;
  for (;;) {
    const auto found = std::find_if(ops.begin(), ops.end(), [&](const auto& op) {
      return stream_.at_operator(op.first);
    });
    if (found == ops.end()) break;
    stream_.next();
    ASSIGN_OR_RETURN(ExpressionPtr next, (this->*operand)());
    node.rest.emplace_back(found->second, std::move(next));
  }
  if (node.rest.empty()) return first;
  node.first = std::move(first);
  return finish(line, std::move(node));
}

ExpressionParser::Result ExpressionParser::parse_sum() {
  return parse_chain(&ExpressionParser::parse_concatenation,
                     {{"+", Arithmetic::kAdd}, {"-", Arithmetic::kSubtract}});
}

ExpressionParser::Result ExpressionParser::parse_concatenation() {
  const int line = stream_.line();
  ASSIGN_OR_RETURN(ExpressionPtr first, parse_product());
  if (!stream_.at_operator("~")) return first;
  Concatenation node;
  node.parts.push_back(std::move(first));
  while (stream_.skip_operator("~")) {
    ASSIGN_OR_RETURN(ExpressionPtr part, parse_product());
    node.parts.push_back(std::move(part));
  }
  return finish(line, std::move(node));
}

ExpressionParser::Result ExpressionParser::parse_product() {
  return parse_chain(&ExpressionParser::parse_power, {{"*", Arithmetic::kMultiply},
                                                      {"/", Arithmetic::kDivide},
                                                      {"//", Arithmetic::kFloorDivide},
                                                      {"%", Arithmetic::kModulo}});
}

// Left-associative, as in Jinja (not as in Python).
ExpressionParser::Result ExpressionParser::parse_power() {
  const int line = stream_.line();
  ASSIGN_OR_RETURN(ExpressionPtr first, parse_unary(true));
  ArithmeticChain node;
  while (stream_.skip_operator("**")) {
    ASSIGN_OR_RETURN(ExpressionPtr next, parse_unary(true));
    node.rest.emplace_back(Arithmetic::kPower, std::move(next));
  }
  if (node.rest.empty()) return first;
  node.first = std::move(first);
  return finish(line, std::move(node));
}

ExpressionParser::Result ExpressionParser::parse_unary(bool with_filters) {
  const DepthGuard guard(depth_);
  if (depth_ > kMaxSyntaxDepth) return stream_.fail("the expression is nested too deeply");
  const int line = stream_.line();
  ExpressionPtr node;
  if (stream_.at_operator("-") || stream_.at_operator("+")) {
    Sign sign{.negative = stream_.next().text == "-", .operand = nullptr};
    ASSIGN_OR_RETURN(sign.operand, parse_unary(false));
    ASSIGN_OR_RETURN(node, finish(line, std::move(sign)));
  } else {
    ASSIGN_OR_RETURN(node, parse_primary());
  }
  ASSIGN_OR_RETURN(node, parse_postfix(std::move(node)));
  return with_filters ? parse_filters_and_tests(std::move(node)) : Result(std::move(node));
}

ExpressionParser::Result ExpressionParser::parse_primary() {
  const int line = stream_.line();
  switch (stream_.peek().kind) {
    case TokenKind::kName:
      return parse_name();
    case TokenKind::kString:
      return parse_string();
    case TokenKind::kInteger:
      return finish(line, Literal{Value::integer(stream_.next().integer)});
    case TokenKind::kFloat:
      return finish(line, Literal{Value::real(stream_.next().real)});
    default:
      break;
  }
  if (stream_.skip_operator("(")) {
    ASSIGN_OR_RETURN(ExpressionPtr inner, parse_tuple(true, true));
    RETURN_IF_ERROR(stream_.expect_operator(")"));
    return inner;
  }
  if (stream_.at_operator("[")) return parse_list();
  if (stream_.at_operator("{")) return parse_dict();
  return stream_.fail(absl::StrCat("expected an expression, got ", stream_.describe()));
}

ExpressionParser::Result ExpressionParser::parse_name() {
  const int line = stream_.line();
  const std::string name = stream_.next().text;
  if (name == "true" || name == "True") return finish(line, Literal{Value::boolean(true)});
  if (name == "false" || name == "False") return finish(line, Literal{Value::boolean(false)});
  if (name == "none" || name == "None") return finish(line, Literal{Value()});
  for (std::set<std::string>& log : name_logs_) log.insert(name);
  return finish(line, NameReference{name});
}

ExpressionParser::Result ExpressionParser::parse_string() {
  const int line = stream_.line();
  std::string text;
  while (stream_.at(TokenKind::kString)) text += stream_.next().text;
  return finish(line, Literal{Value::string(std::move(text))});
}

ExpressionParser::Result ExpressionParser::parse_tuple(bool with_conditional, bool may_be_empty) {
  const int line = stream_.line();
  const auto at_end = [&] {
    return stream_.at(TokenKind::kVariableEnd) || stream_.at(TokenKind::kBlockEnd) ||
           stream_.at_operator(")") || stream_.at_name("recursive");
  };
  ListDisplay tuple{.items = {}, .tuple = true};
  bool comma = false;
  while (!at_end()) {
    ASSIGN_OR_RETURN(ExpressionPtr item,
                     with_conditional ? parse_expression() : parse_without_conditional());
    tuple.items.push_back(std::move(item));
    if (!stream_.skip_operator(",")) break;
    comma = true;
  }
  if (!comma && tuple.items.size() == 1) return std::move(tuple.items[0]);
  if (tuple.items.empty() && !may_be_empty) {
    return stream_.fail(absl::StrCat("expected an expression, got ", stream_.describe()));
  }
  return finish(line, std::move(tuple));
}

ExpressionParser::Result ExpressionParser::parse_list() {
  const int line = stream_.line();
  RETURN_IF_ERROR(stream_.expect_operator("["));
  ListDisplay list;
  while (!stream_.at_operator("]")) {
    if (!list.items.empty()) {
      RETURN_IF_ERROR(stream_.expect_operator(","));
      if (stream_.at_operator("]")) break;
    }
    ASSIGN_OR_RETURN(ExpressionPtr item, parse_expression());
    list.items.push_back(std::move(item));
  }
  RETURN_IF_ERROR(stream_.expect_operator("]"));
  return finish(line, std::move(list));
}

ExpressionParser::Result ExpressionParser::parse_dict() {
  const int line = stream_.line();
  RETURN_IF_ERROR(stream_.expect_operator("{"));
  DictDisplay dict;
  while (!stream_.at_operator("}")) {
    if (!dict.items.empty()) {
      RETURN_IF_ERROR(stream_.expect_operator(","));
      if (stream_.at_operator("}")) break;
    }
    ASSIGN_OR_RETURN(ExpressionPtr key, parse_expression());
    RETURN_IF_ERROR(stream_.expect_operator(":"));
    ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
    dict.items.emplace_back(std::move(key), std::move(value));
  }
  RETURN_IF_ERROR(stream_.expect_operator("}"));
  return finish(line, std::move(dict));
}

}  // namespace conclave::coordinator::jinja
