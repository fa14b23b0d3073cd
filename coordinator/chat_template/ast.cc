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

}  // namespace

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
