#include "coordinator/chat_template/statement_parser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/name_check.h"
#include "coordinator/chat_template/parser.h"
#include "coordinator/chat_template/scope_analysis.h"

namespace conclave::coordinator::jinja {

absl::StatusOr<Body> StatementParser::parse_body(
    std::initializer_list<std::string_view> end_tags) {
  Body body;
  while (!stream_.at(TokenKind::kEnd)) {
    const int line = stream_.line();
    if (stream_.at(TokenKind::kText)) {
      body.push_back({line, Text{stream_.next().text}});
    } else if (stream_.at(TokenKind::kVariableBegin)) {
      stream_.next();
      ASSIGN_OR_RETURN(ExpressionPtr expression, expressions_.parse_tuple(true, false));
      RETURN_IF_ERROR(stream_.expect(TokenKind::kVariableEnd, "'}}'"));
      body.push_back({line, Output{std::move(expression)}});
    } else {
      RETURN_IF_ERROR(stream_.expect(TokenKind::kBlockBegin, "'{%'"));
      const bool ends = std::any_of(end_tags.begin(), end_tags.end(),
                                    [&](std::string_view tag) { return stream_.at_name(tag); });
      if (ends) return body;
      ASSIGN_OR_RETURN(Statement statement, parse_statement());
      body.push_back(std::move(statement));
      RETURN_IF_ERROR(stream_.expect(TokenKind::kBlockEnd, "'%}'"));
    }
  }
  if (end_tags.size() == 0) return body;
  return stream_.fail(absl::StrCat("the template ends where '{% ",
                                   std::string(*(end_tags.end() - 1)), " %}' is expected"));
}

absl::StatusOr<Statement> StatementParser::parse_statement() {
  const int line = stream_.line();
  if (!stream_.at(TokenKind::kName)) {
    return stream_.fail(absl::StrCat("expected a tag name, got ", stream_.describe()));
  }
  if (depth_ >= kMaxSyntaxDepth) return stream_.fail("blocks are nested too deeply");
  ++depth_;
  const std::string tag = stream_.next().text;
  Node node = parse_tag(tag);
  --depth_;
  if (!node.ok()) return node.status();
  return Statement{line, *std::move(node)};
}

StatementParser::Node StatementParser::parse_tag(std::string_view tag) {
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "with") return parse_with();
  if (tag == "break" || tag == "continue") return parse_loop_control(tag == "break");
  if (tag == "print") return parse_print();
  if (tag == "block") return parse_inner_block();
  if (tag == "autoescape") return parse_autoescape();
  if (tag == "generation") {
    Macro body;
    RETURN_IF_ERROR(parse_callable_body("endgeneration", body));
    return Generation{std::move(body.body)};
  }
  for (std::string_view other : {"include", "import", "from", "extends"}) {
    if (tag != other) continue;
    return stream_.fail(absl::StrCat("'{% ", std::string(tag),
                                     " %}' is not supported: a chat template is one file"));
  }
  return stream_.fail(absl::StrCat("unknown or misplaced tag '", std::string(tag), "'"));
}

StatementParser::Node StatementParser::parse_print() {
  ListDisplay values{.items = {}, .tuple = true};
  while (!stream_.at(TokenKind::kBlockEnd)) {
    if (!values.items.empty()) RETURN_IF_ERROR(stream_.expect_operator(","));
    ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.parse_expression());
    values.items.push_back(std::move(value));
  }
  // Printed one after the other.
  return Output{expressions_.concatenation(std::move(values.items))};
}

StatementParser::Node StatementParser::parse_inner_block() {
  Block node;
  ASSIGN_OR_RETURN(const Target name, parse_single_target(false));
  if (name.is_tuple) return stream_.fail("a block needs a name");
  node.name = name.name;
  if (!blocks_.insert(node.name).second)
    return stream_.fail(absl::StrCat("block '", node.name, "' defined twice"));
  node.scoped = stream_.skip_name("scoped");
  const bool required = stream_.skip_name("required");
  if (required) return stream_.fail("required blocks are for templates that others extend");
  const int outer_loops = std::exchange(loops_, 0);
  absl::StatusOr<Body> body = parse_block_until({"endblock"});
  loops_ = outer_loops;
  if (!body.ok()) return body.status();
  stream_.next();
  stream_.skip_name(node.name);
  node.body.statements = *std::move(body);
  return node;
}

// Off it is in chat templates; on, every output would be HTML.
StatementParser::Node StatementParser::parse_autoescape() {
  With node;
  if (!stream_.skip_name("false") && !stream_.skip_name("False")) {
    return stream_.fail("'{% autoescape %}' other than false is not supported");
  }
  ASSIGN_OR_RETURN(node.body.statements, parse_block("endautoescape"));
  return node;
}

absl::StatusOr<Body> StatementParser::parse_block_until(
    std::initializer_list<std::string_view> end_tags) {
  stream_.skip_operator(":");
  RETURN_IF_ERROR(stream_.expect(TokenKind::kBlockEnd, "'%}'"));
  return parse_body(end_tags);
}

absl::StatusOr<Body> StatementParser::parse_block(std::string_view end_tag) {
  ASSIGN_OR_RETURN(Body body, parse_block_until({end_tag}));
  stream_.next();
  return body;
}

StatementParser::Node StatementParser::parse_if() {
  If node;
  for (;;) {
    ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.parse_tuple(false, false));
    ASSIGN_OR_RETURN(Body body, parse_block_until({"elif", "else", "endif"}));
    node.branches.emplace_back(std::move(condition), std::move(body));
    const std::string tag = stream_.next().text;
    if (tag == "elif") continue;
    if (tag == "else") {
      ASSIGN_OR_RETURN(node.otherwise, parse_block("endif"));
    }
    return node;
  }
}

StatementParser::Node StatementParser::parse_for() {
  For node;
  ASSIGN_OR_RETURN(node.target, parse_target(false, true));
  if (!stream_.skip_name("in")) {
    return stream_.fail(absl::StrCat("expected 'in', got ", stream_.describe()));
  }
  ASSIGN_OR_RETURN(node.iterable, expressions_.parse_tuple(false, false));
  if (stream_.skip_name("if")) {
    ASSIGN_OR_RETURN(node.condition, expressions_.parse_expression());
  }
  node.recursive = stream_.skip_name("recursive");
  ++loops_;
  absl::StatusOr<Body> body = parse_block_until({"else", "endfor"});
  --loops_;
  if (!body.ok()) return body.status();
  node.body.statements = *std::move(body);
  if (stream_.next().text == "else") {
    ASSIGN_OR_RETURN(node.otherwise.statements, parse_block("endfor"));
  }
  return node;
}

StatementParser::Node StatementParser::parse_set() {
  ASSIGN_OR_RETURN(Target target, parse_target(true, false));
  if (stream_.skip_operator("=")) {
    Set node{.target = std::move(target), .value = nullptr};
    ASSIGN_OR_RETURN(node.value, expressions_.parse_tuple(true, false));
    return node;
  }
  SetBlock node;
  node.target = std::move(target);
  ASSIGN_OR_RETURN(node.filter, expressions_.parse_filters(nullptr, false));
  ASSIGN_OR_RETURN(node.body.statements, parse_block("endset"));
  return node;
}

absl::StatusOr<std::vector<Parameter>> StatementParser::parse_signature() {
  std::vector<Parameter> parameters;
  RETURN_IF_ERROR(stream_.expect_operator("("));
  while (!stream_.at_operator(")")) {
    if (!parameters.empty()) RETURN_IF_ERROR(stream_.expect_operator(","));
    ASSIGN_OR_RETURN(const Target name, parse_single_target(false));
    Parameter parameter{.name = name.name, .default_value = nullptr};
    if (name.is_tuple) return stream_.fail("a parameter must be a name");
    if (stream_.skip_operator("=")) {
      ASSIGN_OR_RETURN(parameter.default_value, expressions_.parse_expression());
    } else if (!parameters.empty() && parameters.back().default_value != nullptr) {
      return stream_.fail("a parameter without default follows one with a default");
    }
    parameters.push_back(std::move(parameter));
  }
  RETURN_IF_ERROR(stream_.expect_operator(")"));
  return parameters;
}

absl::Status StatementParser::parse_callable_body(std::string_view end_tag, Macro& macro) {
  auto& logs = expressions_.name_logs();
  logs.emplace_back();
  const int outer_loops = loops_;
  loops_ = 0;
  absl::StatusOr<Body> body = parse_block(end_tag);
  loops_ = outer_loops;
  macro.uses_caller = logs.back().contains("caller");
  macro.uses_varargs = logs.back().contains("varargs");
  macro.uses_kwargs = logs.back().contains("kwargs");
  logs.pop_back();
  if (!body.ok()) return body.status();
  macro.body.statements = *std::move(body);
  return absl::OkStatus();
}

StatementParser::Node StatementParser::parse_macro() {
  auto macro = std::make_shared<Macro>();
  ASSIGN_OR_RETURN(const Target name, parse_single_target(false));
  if (name.is_tuple) return stream_.fail("a macro needs a name");
  macro->name = name.name;
  ASSIGN_OR_RETURN(macro->parameters, parse_signature());
  RETURN_IF_ERROR(parse_callable_body("endmacro", *macro));
  return MacroDefinition{std::move(macro)};
}

StatementParser::Node StatementParser::parse_call_block() {
  CallBlock node;
  node.caller = std::make_shared<Macro>();
  node.caller->name = "caller";
  if (stream_.at_operator("(")) {
    ASSIGN_OR_RETURN(node.caller->parameters, parse_signature());
  }
  ASSIGN_OR_RETURN(node.call, expressions_.parse_expression());
  if (!std::holds_alternative<Call>(node.call->node)) {
    return stream_.fail("a call block needs a call, as in {% call name() %}");
  }
  RETURN_IF_ERROR(parse_callable_body("endcall", *node.caller));
  return node;
}

StatementParser::Node StatementParser::parse_filter_block() {
  FilterBlock node;
  ASSIGN_OR_RETURN(node.filter, expressions_.parse_filters(nullptr, true));
  ASSIGN_OR_RETURN(node.body.statements, parse_block("endfilter"));
  return node;
}

StatementParser::Node StatementParser::parse_with() {
  With node;
  while (!stream_.at(TokenKind::kBlockEnd)) {
    if (!node.assignments.empty()) RETURN_IF_ERROR(stream_.expect_operator(","));
    ASSIGN_OR_RETURN(Target target, parse_single_target(false));
    RETURN_IF_ERROR(stream_.expect_operator("="));
    ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.parse_expression());
    node.assignments.emplace_back(std::move(target), std::move(value));
  }
  ASSIGN_OR_RETURN(node.body.statements, parse_block("endwith"));
  return node;
}

StatementParser::Node StatementParser::parse_loop_control(bool is_break) {
  if (loops_ == 0) {
    return stream_.fail(absl::StrCat("'", is_break ? "break" : "continue", "' outside a loop"));
  }
  if (is_break) return Break{};
  return Continue{};
}

absl::StatusOr<Target> StatementParser::parse_single_target(bool namespace_allowed) {
  if (stream_.skip_operator("(")) {
    if (depth_ >= kMaxSyntaxDepth) return stream_.fail("targets are nested too deeply");
    ++depth_;
    absl::StatusOr<Target> target = parse_target(false, false);
    --depth_;
    if (!target.ok()) return target.status();
    RETURN_IF_ERROR(stream_.expect_operator(")"));
    return target;
  }
  Target target;
  if (stream_.at(TokenKind::kName)) target.name = stream_.peek().text;
  RETURN_IF_ERROR(stream_.expect(TokenKind::kName, "a name to assign to"));
  for (std::string_view constant : {"true", "True", "false", "False", "none", "None"}) {
    if (target.name != constant) continue;
    return stream_.fail(absl::StrCat("cannot assign to '", target.name, "'"));
  }
  if (namespace_allowed && stream_.skip_operator(".")) {
    target.attribute = stream_.peek().text;
    RETURN_IF_ERROR(stream_.expect(TokenKind::kName, "an attribute name"));
  }
  return target;
}

absl::StatusOr<Target> StatementParser::parse_target(bool namespace_allowed, bool in_for) {
  const auto at_end = [&] {
    return stream_.at(TokenKind::kBlockEnd) || stream_.at_operator(")") ||
           stream_.at_operator("=") || (in_for && stream_.at_name("in"));
  };
  ASSIGN_OR_RETURN(Target first, parse_single_target(namespace_allowed));
  if (!stream_.at_operator(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.tuple.push_back(std::move(first));
  while (stream_.skip_operator(",") && !at_end()) {
    ASSIGN_OR_RETURN(Target next, parse_single_target(namespace_allowed));
    tuple.tuple.push_back(std::move(next));
  }
  return tuple;
}

absl::StatusOr<ParsedTemplate> parse_template(std::string_view source) {
  ASSIGN_OR_RETURN(std::vector<Token> tokens, tokenize(source));
  TokenStream stream(std::move(tokens));
  ParsedTemplate parsed;
  ASSIGN_OR_RETURN(parsed.body.statements, StatementParser(stream).parse_body({}));
  parsed.outside = analyze_scopes(parsed.body);
  parsed.literals = string_literals(parsed.body.statements);
  ASSIGN_OR_RETURN(parsed.warnings, check_names(parsed.body.statements, parsed.outside));
  return parsed;
}

}  // namespace conclave::coordinator::jinja
