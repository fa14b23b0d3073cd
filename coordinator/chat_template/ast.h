#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_AST_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_AST_H_

// The syntax tree of a template. Built once by the parser, then immutable and shared by renders.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "coordinator/chat_template/arithmetic.h"
#include "coordinator/chat_template/comparison.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;
using ExpressionList = std::vector<ExpressionPtr>;

struct CallArguments {
  ExpressionList positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional;  // *rest
  ExpressionPtr more_named;       // **rest
};

struct Literal {
  Value value;
};
struct NameReference {
  std::string name;
};
struct ListDisplay {
  ExpressionList items;
  bool tuple = false;
};
struct DictDisplay {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};
struct Sign {
  bool negative = false;
  ExpressionPtr operand;
};
struct Not {
  ExpressionPtr operand;
};
// a and b and c, or a or b or c: the first operand that decides.
struct Logical {
  bool is_and = true;
  ExpressionList operands;
};
// A left-to-right chain of operators of one precedence: a + b - c.
struct ArithmeticChain {
  ExpressionPtr first;
  std::vector<std::pair<Arithmetic, ExpressionPtr>> rest;
};
enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
struct ComparisonChain {
  ExpressionPtr first;
  std::vector<std::pair<Comparison, ExpressionPtr>> rest;
};
struct Concatenation {
  ExpressionList parts;
};
struct Conditional {
  ExpressionPtr condition;
  ExpressionPtr then_value;
  ExpressionPtr else_value;  // null: undefined
};
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Subscript {
  ExpressionPtr object;
  ExpressionPtr key;
};
struct Slice {
  ExpressionPtr object;
  ExpressionPtr start;  // each may be null
  ExpressionPtr stop;
  ExpressionPtr step;
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExpressionPtr input;  // null: the text of a filter or set block
  std::string name;
  CallArguments arguments;
};
struct Test {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};

struct Expression {
  using Node = std::variant<Literal, NameReference, ListDisplay, DictDisplay, Sign, Not, Logical,
                            ArithmeticChain, ComparisonChain, Concatenation, Conditional,
                            Attribute, Subscript, Slice, Call, Filter, Test>;
  int line = 0;
  int depth = 1;  // of nested expressions, this one included
  Node node;
};

// Calls visit for every direct child.
void for_each_child(const Expression& expression,
                    const std::function<void(const Expression&)>& visit);
void for_each_argument(const CallArguments& arguments,
                       const std::function<void(const Expression&)>& visit);

struct Statement;
using Body = std::vector<Statement>;

// What can stand left of `=` or between `for` and `in`: a name, space.name, or a tuple of these.
struct Target {
  std::string name;
  std::string attribute;       // of a namespace
  std::vector<Target> tuple;   // not empty: a tuple
  bool is_tuple = false;
};

// A body with names of its own. `undefined_at_entry`: names that the body assigns before it reads
// them; Jinja hides an outer variable of that name from the first statement on.
struct ScopedBody {
  Body statements;
  std::vector<std::string> undefined_at_entry;
};

struct Output {
  ExpressionPtr expression;
};
struct Text {
  std::string text;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  // null: none
  ScopedBody body;
  ScopedBody otherwise;
  bool recursive = false;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // null: none
  ScopedBody body;
};
struct Parameter {
  std::string name;
  ExpressionPtr default_value;  // null: none
};
struct Macro {
  std::string name;
  std::vector<Parameter> parameters;
  ScopedBody body;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};
struct MacroDefinition {
  std::shared_ptr<Macro> macro;
};
struct CallBlock {
  ExpressionPtr call;
  std::shared_ptr<Macro> caller;
};
struct FilterBlock {
  ExpressionPtr filter;
  ScopedBody body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  ScopedBody body;
};
// {% block name %}: in a template that nothing extends, its body.
struct Block {
  std::string name;
  bool scoped = false;
  ScopedBody body;
};
// {% generation %}: marks the assistant's part for training; renders its body.
struct Generation {
  ScopedBody body;
};
struct Break {};
struct Continue {};

struct Statement {
  using Node = std::variant<Text, Output, If, For, Set, SetBlock, MacroDefinition, CallBlock,
                            FilterBlock, With, Block, Generation, Break, Continue>;
  int line = 0;
  Node node;
};

// Visits the outermost expressions of a body and of all bodies inside it. `soft`: only reached by
// way of an if statement of the same scope, where Jinja puts off what it says about unknown
// filters.
void for_each_expression(const Body& body, bool soft,
                         const std::function<void(const Expression&, bool soft)>& visit);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_AST_H_
