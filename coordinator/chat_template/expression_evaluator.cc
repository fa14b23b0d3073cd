#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/evaluator.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/predicates.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {

class ExpressionEvaluator {
 public:
  using ValueOr = absl::StatusOr<Value>;
  ExpressionEvaluator(Evaluator& evaluator, const ScopePtr& scope, int line)
      : evaluator_(evaluator), budget_(evaluator.budget_), scope_(scope), line_(line) {}

  ValueOr operator()(const Literal& node) const { return node.value; }
  ValueOr operator()(const NameReference& node) const {
    return evaluator_.look_up(node.name, scope_);
  }

  ValueOr operator()(const ListDisplay& node) const {
    std::vector<Value> items;
    items.reserve(node.items.size());
    for (const ExpressionPtr& item : node.items) {
      ASSIGN_OR_RETURN(Value value, evaluate(item));
      items.push_back(std::move(value));
    }
    RETURN_IF_ERROR(budget_.charge_bytes(items.size() * sizeof(Value)));
    return make_sequence(node.tuple ? SequenceKind::kTuple : SequenceKind::kList,
                         std::move(items));
  }

  ValueOr operator()(const DictDisplay& node) const {
    auto dict = std::make_shared<Dict>();
    for (const auto& [key, value] : node.items) {
      ASSIGN_OR_RETURN(Value k, evaluate(key));
      ASSIGN_OR_RETURN(Value v, evaluate(value));
      RETURN_IF_ERROR(dict->insert(std::move(k), std::move(v)));
    }
    RETURN_IF_ERROR(budget_.charge_bytes(node.items.size() * 4 * sizeof(Value)));
    return Value::of(std::shared_ptr<const Dict>(std::move(dict)));
  }

  ValueOr operator()(const Sign& node) const {
    ASSIGN_OR_RETURN(const Value operand, evaluate(node.operand));
    return apply_sign(node.negative, operand);
  }

  ValueOr operator()(const Not& node) const {
    ASSIGN_OR_RETURN(const Value operand, evaluate(node.operand));
    return Value::boolean(!operand.truthy());
  }

  ValueOr operator()(const Logical& node) const {
    Value result;
    for (const ExpressionPtr& operand : node.operands) {
      ASSIGN_OR_RETURN(result, evaluate(operand));
      if (result.truthy() != node.is_and) break;
    }
    return result;
  }

  ValueOr operator()(const ArithmeticChain& node) const {
    ASSIGN_OR_RETURN(Value result, evaluate(node.first));
    for (const auto& [op, operand] : node.rest) {
      ASSIGN_OR_RETURN(const Value right, evaluate(operand));
      evaluator_.line_ = line_;
      ASSIGN_OR_RETURN(result, apply_arithmetic(budget_, op, result, right));
    }
    return result;
  }

  ValueOr operator()(const ComparisonChain& node) const {
    ASSIGN_OR_RETURN(Value left, evaluate(node.first));
    for (const auto& [comparison, operand] : node.rest) {
      ASSIGN_OR_RETURN(Value right, evaluate(operand));
      evaluator_.line_ = line_;
      ASSIGN_OR_RETURN(const bool holds, compare(comparison, left, right));
      if (!holds) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  ValueOr operator()(const Concatenation& node) const {
    std::string text;
    for (const ExpressionPtr& part : node.parts) {
      ASSIGN_OR_RETURN(const Value value, evaluate(part));
      RETURN_IF_ERROR(append_text(budget_, value, text));
    }
    return Value::string(std::move(text));
  }

  ValueOr operator()(const Conditional& node) const {
    ASSIGN_OR_RETURN(const Value condition, evaluate(node.condition));
    if (condition.truthy()) return evaluate(node.then_value);
    if (node.else_value != nullptr) return evaluate(node.else_value);
    return Value::undefined(absl::StrCat("the inline if-expression on line ", line_,
                                         " evaluated to false and no else section was defined."));
  }

  ValueOr operator()(const Attribute& node) const {
    ASSIGN_OR_RETURN(const Value object, evaluate(node.object));
    evaluator_.line_ = line_;
    return get_attribute(object, node.name);
  }

  ValueOr operator()(const Subscript& node) const {
    ASSIGN_OR_RETURN(const Value object, evaluate(node.object));
    ASSIGN_OR_RETURN(const Value key, evaluate(node.key));
    evaluator_.line_ = line_;
    return get_item(budget_, object, key);
  }

  ValueOr operator()(const Slice& node) const {
    ASSIGN_OR_RETURN(const Value object, evaluate(node.object));
    SliceBounds bounds;
    ASSIGN_OR_RETURN(bounds.start, slice_bound(node.start));
    ASSIGN_OR_RETURN(bounds.stop, slice_bound(node.stop));
    ASSIGN_OR_RETURN(bounds.step, slice_bound(node.step));
    evaluator_.line_ = line_;
    return get_slice(budget_, object, bounds);
  }

  ValueOr operator()(const Call& node) const {
    return evaluator_.evaluate_call(node, scope_, Arguments());
  }

  ValueOr operator()(const Filter& node) const {
    Value input = evaluator_.block_text_;
    if (node.input != nullptr) {
      ASSIGN_OR_RETURN(input, evaluate(node.input));
    }
    const FilterFunction filter = find_filter(node.name);
    if (filter == nullptr) return unknown("filter", node.name);
    ASSIGN_OR_RETURN(const Arguments arguments,
                     evaluator_.evaluate_arguments(node.arguments, scope_));
    evaluator_.line_ = line_;
    RETURN_IF_ERROR(evaluator_.charge_call(input, arguments));
    return filter(budget_, input, arguments);
  }

  ValueOr operator()(const Test& node) const {
    ASSIGN_OR_RETURN(const Value input, evaluate(node.input));
    const PredicateFunction test = find_predicate(node.name);
    if (test == nullptr) return unknown("test", node.name);
    ASSIGN_OR_RETURN(const Arguments arguments,
                     evaluator_.evaluate_arguments(node.arguments, scope_));
    evaluator_.line_ = line_;
    RETURN_IF_ERROR(evaluator_.charge_call(input, arguments));
    ASSIGN_OR_RETURN(const bool holds, test(budget_, input, arguments));
    return Value::boolean(holds);
  }

 private:
  ValueOr evaluate(const ExpressionPtr& expression) const {
    return evaluator_.evaluate(*expression, scope_);
  }

  absl::Status unknown(std::string_view what, const std::string& name) const {
    evaluator_.line_ = line_;
    return absl::InvalidArgumentError(
        absl::StrCat("No ", std::string(what), " named '", name, "'."));
  }

  absl::StatusOr<std::optional<int64_t>> slice_bound(const ExpressionPtr& expression) const {
    if (expression == nullptr) return std::optional<int64_t>();
    ASSIGN_OR_RETURN(const Value value, evaluate(expression));
    if (value.is_none() || value.integral()) return value.integral();
    return absl::InvalidArgumentError("slice indices must be integers or None");
  }

  absl::StatusOr<bool> compare(Comparison comparison, const Value& a, const Value& b) const {
    switch (comparison) {
      case Comparison::kEqual:
        return equals(budget_, a, b);
      case Comparison::kNotEqual: {
        ASSIGN_OR_RETURN(const bool same, equals(budget_, a, b));
        return !same;
      }
      case Comparison::kLess:
        return ordered(budget_, Ordering::kLess, a, b);
      case Comparison::kLessEqual:
        return ordered(budget_, Ordering::kLessEqual, a, b);
      case Comparison::kGreater:
        return ordered(budget_, Ordering::kGreater, a, b);
      case Comparison::kGreaterEqual:
        return ordered(budget_, Ordering::kGreaterEqual, a, b);
      case Comparison::kIn:
        return contains(budget_, b, a);
      case Comparison::kNotIn: {
        ASSIGN_OR_RETURN(const bool inside, contains(budget_, b, a));
        return !inside;
      }
    }
    return false;
  }

  Evaluator& evaluator_;
  Budget& budget_;
  const ScopePtr& scope_;
  const int line_;
};

absl::StatusOr<Value> Evaluator::evaluate(const Expression& expression, const ScopePtr& scope) {
  RETURN_IF_ERROR(budget_.charge_steps(1));
  line_ = expression.line;
  if (depth_ >= budget_.limits().depth) {
    return absl::InvalidArgumentError("calls and blocks are nested too deeply");
  }
  ++depth_;
  ValueOr value = std::visit(ExpressionEvaluator(*this, scope, expression.line), expression.node);
  --depth_;
  return value;
}

absl::StatusOr<bool> Evaluator::evaluate_condition(const Expression& expression,
                                                   const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value value, evaluate(expression, scope));
  return value.truthy();
}

absl::StatusOr<Value> Evaluator::block_filter(const Expression& filter, Value input,
                                              const ScopePtr& scope) {
  std::swap(block_text_, input);
  ValueOr value = evaluate(filter, scope);
  std::swap(block_text_, input);
  return value;
}

Value Evaluator::look_up(std::string_view name, const ScopePtr& scope) const {
  if (const Value* found = scope->find(name)) return *found;
  if (const Value* found = variables_.as_dict()->find(name)) return *found;
  if (is_global_function(name)) {
    auto callable = std::make_shared<Callable>();
    callable->name = std::string(name);
    return Value::of(std::shared_ptr<const Callable>(std::move(callable)));
  }
  return Value::undefined(absl::StrCat("'", std::string(name), "' is undefined"));
}

}  // namespace conclave::coordinator::jinja
