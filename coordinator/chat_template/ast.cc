#include "coordinator/chat_template/ast.h"

namespace conclave::coordinator::jinja {
namespace {

using Visit = std::function<void(const Expression&)>;

class ChildVisitor {
 public:
  explicit ChildVisitor(const Visit& visit) : visit_(visit) {}

  void operator()(const Literal&) const {}
  void operator()(const NameReference&) const {}
  void operator()(const ListDisplay& node) const { all(node.items); }
  void operator()(const DictDisplay& node) const {
    for (const auto& [key, value] : node.items) {
      one(key);
      one(value);
    }
  }
  void operator()(const Sign& node) const { one(node.operand); }
  void operator()(const Not& node) const { one(node.operand); }
  void operator()(const Logical& node) const { all(node.operands); }
  void operator()(const ArithmeticChain& node) const { chain(node); }
  void operator()(const ComparisonChain& node) const { chain(node); }
  void operator()(const Concatenation& node) const { all(node.parts); }
  void operator()(const Conditional& node) const {
    one(node.condition);
    one(node.then_value);
    one(node.else_value);
  }
  void operator()(const Attribute& node) const { one(node.object); }
  void operator()(const Subscript& node) const {
    one(node.object);
    one(node.key);
  }
  void operator()(const Slice& node) const {
    one(node.object);
    one(node.start);
    one(node.stop);
    one(node.step);
  }
  void operator()(const Call& node) const {
    one(node.callee);
    for_each_argument(node.arguments, visit_);
  }
  void operator()(const Filter& node) const {
    one(node.input);
    for_each_argument(node.arguments, visit_);
  }
  void operator()(const Test& node) const {
    one(node.input);
    for_each_argument(node.arguments, visit_);
  }

 private:
  void one(const ExpressionPtr& child) const {
    if (child != nullptr) visit_(*child);
  }
  void all(const ExpressionList& children) const {
    for (const ExpressionPtr& child : children) one(child);
  }
  template <typename Chain>
  void chain(const Chain& node) const {
    one(node.first);
    for (const auto& step : node.rest) one(step.second);
  }
  const Visit& visit_;
};

using SoftVisit = std::function<void(const Expression&, bool)>;

class StatementVisitor {
 public:
  StatementVisitor(bool soft, const SoftVisit& visit) : soft_(soft), visit_(visit) {}

  template <typename Leaf>
  void operator()(const Leaf&) const {}
  void operator()(const Output& node) const { one(node.expression); }
  void operator()(const If& node) const {
    for (const auto& [condition, body] : node.branches) {
      visit_(*condition, true);
      for_each_expression(body, true, visit_);
    }
    for_each_expression(node.otherwise, true, visit_);
  }
  void operator()(const For& node) const {
    one(node.iterable);
    one(node.condition);
    scoped(node.body);
    scoped(node.otherwise);
  }
  void operator()(const Set& node) const { one(node.value); }
  void operator()(const SetBlock& node) const {
    one(node.filter);
    scoped(node.body);
  }
  void operator()(const MacroDefinition& node) const { macro(*node.macro); }
  void operator()(const CallBlock& node) const {
    one(node.call);
    macro(*node.caller);
  }
  void operator()(const FilterBlock& node) const {
    one(node.filter);
    scoped(node.body);
  }
  void operator()(const With& node) const {
    for (const auto& assignment : node.assignments) one(assignment.second);
    scoped(node.body);
  }
  void operator()(const Generation& node) const { scoped(node.body); }
  void operator()(const Block& node) const { scoped(node.body); }

 private:
  void one(const ExpressionPtr& expression) const {
    if (expression != nullptr) visit_(*expression, soft_);
  }
  void scoped(const ScopedBody& body) const { for_each_expression(body.statements, false, visit_); }
  void macro(const Macro& macro) const {
    for (const Parameter& parameter : macro.parameters) one(parameter.default_value);
    scoped(macro.body);
  }
  const bool soft_;
  const SoftVisit& visit_;
};

}  // namespace

void for_each_expression(const Body& body, bool soft, const SoftVisit& visit) {
  for (const Statement& statement : body) std::visit(StatementVisitor(soft, visit), statement.node);
}

void for_each_child(const Expression& expression, const Visit& visit) {
  std::visit(ChildVisitor(visit), expression.node);
}

void for_each_argument(const CallArguments& arguments, const Visit& visit) {
  for (const ExpressionPtr& value : arguments.positional) visit(*value);
  for (const auto& [name, value] : arguments.named) visit(*value);
  if (arguments.more_positional != nullptr) visit(*arguments.more_positional);
  if (arguments.more_named != nullptr) visit(*arguments.more_named);
}

}  // namespace conclave::coordinator::jinja
