// What may follow a primary expression: .name, [key], (arguments), |filter, is test.
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/expression_parser.h"

namespace conclave::coordinator::jinja {

ExpressionParser::Result ExpressionParser::parse_postfix(ExpressionPtr node) {
  for (;;) {
    if (stream_.at_operator(".")) {
      ASSIGN_OR_RETURN(node, parse_attribute(std::move(node)));
    } else if (stream_.at_operator("[")) {
      ASSIGN_OR_RETURN(node, parse_subscript(std::move(node)));
    } else if (stream_.at_operator("(")) {
      ASSIGN_OR_RETURN(node, parse_call(std::move(node)));
    } else {
      return node;
    }
  }
}

ExpressionParser::Result ExpressionParser::parse_filters_and_tests(ExpressionPtr node) {
  for (;;) {
    if (stream_.at_operator("|")) {
      stream_.next();
      ASSIGN_OR_RETURN(node, parse_filter(std::move(node)));
    } else if (stream_.at_name("is")) {
      ASSIGN_OR_RETURN(node, parse_test(std::move(node)));
    } else if (stream_.at_operator("(")) {
      ASSIGN_OR_RETURN(node, parse_call(std::move(node)));
    } else {
      return node;
    }
  }
}

ExpressionParser::Result ExpressionParser::parse_filters(ExpressionPtr input,
                                                         bool first_without_pipe) {
  bool pending = first_without_pipe;
  while (pending || stream_.at_operator("|")) {
    if (!pending) stream_.next();
    pending = false;
    ASSIGN_OR_RETURN(input, parse_filter(std::move(input)));
  }
  return input;
}

ExpressionParser::Result ExpressionParser::parse_attribute(ExpressionPtr object) {
  const int line = stream_.line();
  RETURN_IF_ERROR(stream_.expect_operator("."));
  if (stream_.at(TokenKind::kName)) {
    return finish(line, Attribute{std::move(object), stream_.next().text});
  }
  if (stream_.at(TokenKind::kInteger)) {
    ASSIGN_OR_RETURN(ExpressionPtr key,
                     finish(line, Literal{Value::integer(stream_.next().integer)}));
    return finish(line, Subscript{std::move(object), std::move(key)});
  }
  return stream_.fail(absl::StrCat("expected a name after '.', got ", stream_.describe()));
}

ExpressionParser::Result ExpressionParser::parse_subscript(ExpressionPtr object) {
  const int line = stream_.line();
  RETURN_IF_ERROR(stream_.expect_operator("["));
  ExpressionPtr start;
  if (!stream_.at_operator(":")) {
    ASSIGN_OR_RETURN(start, parse_expression());
    if (stream_.skip_operator("]")) {
      return finish(line, Subscript{std::move(object), std::move(start)});
    }
  }
  Slice slice{.object = std::move(object), .start = std::move(start), .stop = nullptr,
              .step = nullptr};
  RETURN_IF_ERROR(stream_.expect_operator(":"));
  if (!stream_.at_operator(":") && !stream_.at_operator("]")) {
    ASSIGN_OR_RETURN(slice.stop, parse_expression());
  }
  if (stream_.skip_operator(":") && !stream_.at_operator("]")) {
    ASSIGN_OR_RETURN(slice.step, parse_expression());
  }
  RETURN_IF_ERROR(stream_.expect_operator("]"));
  return finish(line, std::move(slice));
}

ExpressionParser::Result ExpressionParser::parse_call(ExpressionPtr callee) {
  const int line = stream_.line();
  ASSIGN_OR_RETURN(CallArguments arguments, parse_arguments());
  return finish(line, Call{std::move(callee), std::move(arguments)});
}

absl::StatusOr<CallArguments> ExpressionParser::parse_arguments() {
  CallArguments arguments;
  RETURN_IF_ERROR(stream_.expect_operator("("));
  for (bool first = true; !stream_.at_operator(")"); first = false) {
    if (!first) {
      RETURN_IF_ERROR(stream_.expect_operator(","));
      if (stream_.at_operator(")")) break;
    }
    RETURN_IF_ERROR(parse_argument(arguments));
  }
  RETURN_IF_ERROR(stream_.expect_operator(")"));
  return arguments;
}

absl::Status ExpressionParser::parse_argument(CallArguments& arguments) {
  const bool keyword = stream_.at(TokenKind::kName) &&
                       stream_.peek(1).kind == TokenKind::kOperator && stream_.peek(1).text == "=";
  const bool after_rest = arguments.more_named != nullptr;
  const bool positional_allowed =
      !after_rest && arguments.more_positional == nullptr && arguments.named.empty();
  if (stream_.at_operator("*") && !after_rest && arguments.more_positional == nullptr) {
    stream_.next();
    ASSIGN_OR_RETURN(arguments.more_positional, parse_expression());
  } else if (stream_.at_operator("**") && !after_rest) {
    stream_.next();
    ASSIGN_OR_RETURN(arguments.more_named, parse_expression());
  } else if (keyword && !after_rest) {
    std::string name = stream_.next().text;
    stream_.next();
    for (const auto& given : arguments.named) {
      if (given.first == name) {
        return stream_.fail(absl::StrCat("keyword argument '", name, "' is repeated"));
      }
    }
    ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
    arguments.named.emplace_back(std::move(name), std::move(value));
  } else if (positional_allowed) {
    ASSIGN_OR_RETURN(ExpressionPtr value, parse_expression());
    arguments.positional.push_back(std::move(value));
  } else {
    return stream_.fail("invalid order of arguments in a call");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ExpressionParser::parse_dotted_name() {
  std::string name = stream_.peek().text;
  RETURN_IF_ERROR(stream_.expect(TokenKind::kName, "a name"));
  while (stream_.skip_operator(".")) {
    name += "." + stream_.peek().text;
    RETURN_IF_ERROR(stream_.expect(TokenKind::kName, "a name"));
  }
  return name;
}

ExpressionParser::Result ExpressionParser::parse_filter(ExpressionPtr input) {
  const int line = stream_.line();
  Filter filter{.input = std::move(input), .name = {}, .arguments = {}};
  ASSIGN_OR_RETURN(filter.name, parse_dotted_name());
  if (stream_.at_operator("(")) {
    ASSIGN_OR_RETURN(filter.arguments, parse_arguments());
  }
  return finish(line, std::move(filter));
}

ExpressionParser::Result ExpressionParser::parse_test(ExpressionPtr input) {
  const int line = stream_.line();
  stream_.next();
  const bool negated = stream_.skip_name("not");
  Test test{.input = std::move(input), .name = {}, .arguments = {}};
  ASSIGN_OR_RETURN(test.name, parse_dotted_name());
  const bool at_operand = stream_.at(TokenKind::kString) || stream_.at(TokenKind::kInteger) ||
                          stream_.at(TokenKind::kFloat) || stream_.at_operator("[") ||
                          stream_.at_operator("{") ||
                          (stream_.at(TokenKind::kName) && !stream_.at_name("else") &&
                           !stream_.at_name("or") && !stream_.at_name("and"));
  if (stream_.at_operator("(")) {
    ASSIGN_OR_RETURN(test.arguments, parse_arguments());
  } else if (at_operand) {
    if (stream_.at_name("is")) return stream_.fail("tests cannot be chained with 'is'");
    ASSIGN_OR_RETURN(ExpressionPtr operand, parse_primary());
    ASSIGN_OR_RETURN(operand, parse_postfix(std::move(operand)));
    test.arguments.positional.push_back(std::move(operand));
  }
  ASSIGN_OR_RETURN(ExpressionPtr node, finish(line, std::move(test)));
  return negated ? finish(line, Not{std::move(node)}) : Result(std::move(node));
}

}  // namespace conclave::coordinator::jinja
