#include "coordinator/chat_template/evaluator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {

class StatementRunner {
 public:
  using FlowOr = Evaluator::FlowOr;
  StatementRunner(Evaluator& evaluator, const ScopePtr& scope)
      : evaluator_(evaluator), scope_(scope) {}

  FlowOr operator()(const Text& node) const {
    RETURN_IF_ERROR(evaluator_.write_text(node.text));
    return Evaluator::Flow::kNormal;
  }
  FlowOr operator()(const Output& node) const {
    ASSIGN_OR_RETURN(const Value value, evaluator_.evaluate(*node.expression, scope_));
    RETURN_IF_ERROR(evaluator_.write(value));
    return Evaluator::Flow::kNormal;
  }
  FlowOr operator()(const If& node) const { return evaluator_.run_if(node, scope_); }
  FlowOr operator()(const For& node) const { return evaluator_.run_for(node, scope_); }
  FlowOr operator()(const Set& node) const {
    ASSIGN_OR_RETURN(Value value, evaluator_.evaluate(*node.value, scope_));
    RETURN_IF_ERROR(evaluator_.assign(node.target, std::move(value), scope_));
    return Evaluator::Flow::kNormal;
  }
  FlowOr operator()(const SetBlock& node) const { return evaluator_.run_set_block(node, scope_); }
  FlowOr operator()(const MacroDefinition& node) const {
    scope_->set(node.macro->name, evaluator_.make_macro(node.macro, scope_));
    return Evaluator::Flow::kNormal;
  }
  FlowOr operator()(const CallBlock& node) const {
    RETURN_IF_ERROR(evaluator_.run_call_block(node, scope_));
    return Evaluator::Flow::kNormal;
  }
  FlowOr operator()(const FilterBlock& node) const {
    return evaluator_.run_filter_block(node, scope_);
  }
  FlowOr operator()(const Block& node) const { return evaluator_.run_block(node, scope_); }
  FlowOr operator()(const With& node) const { return evaluator_.run_with(node, scope_); }
  FlowOr operator()(const Generation& node) const {
    return evaluator_.run_scoped(node.body, scope_);
  }
  FlowOr operator()(const Break&) const { return Evaluator::Flow::kBreak; }
  FlowOr operator()(const Continue&) const { return Evaluator::Flow::kContinue; }

 private:
  Evaluator& evaluator_;
  const ScopePtr& scope_;
};

Evaluator::Evaluator(Value variables, const RenderLimits& limits)
    : variables_(std::move(variables)), budget_(limits) {}

Evaluator::~Evaluator() {
  for (const ScopePtr& scope : captured_scopes_) scope->clear();
  for (const std::shared_ptr<Namespace>& space : namespaces_) space->attributes.clear();
}

absl::StatusOr<std::string> Evaluator::render(const ScopedBody& body) {
  std::string text;
  out_ = &text;
  root_ = enter(body, nullptr);
  RETURN_IF_ERROR(run_body(body.statements, root_).status());
  return text;
}

ScopePtr Evaluator::enter(const ScopedBody& body, const ScopePtr& parent) {
  auto scope = std::make_shared<Scope>(parent);
  for (const std::string& name : body.undefined_at_entry) {
    scope->set(name, Value::undefined(absl::StrCat("'", name, "' is undefined")));
  }
  return scope;
}

Evaluator::FlowOr Evaluator::run_body(const Body& body, const ScopePtr& scope) {
  for (const Statement& statement : body) {
    ASSIGN_OR_RETURN(const Flow flow, run(statement, scope));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Evaluator::FlowOr Evaluator::run(const Statement& statement, const ScopePtr& scope) {
  RETURN_IF_ERROR(budget_.charge_steps(1));
  line_ = statement.line;
  if (depth_ >= budget_.limits().depth) {
    return absl::InvalidArgumentError("calls and blocks are nested too deeply");
  }
  ++depth_;
  FlowOr flow = std::visit(StatementRunner(*this, scope), statement.node);
  --depth_;
  return flow;
}

Evaluator::FlowOr Evaluator::run_scoped(const ScopedBody& body, const ScopePtr& scope) {
  return run_body(body.statements, enter(body, scope));
}

Evaluator::FlowOr Evaluator::run_captured(const ScopedBody& body, const ScopePtr& scope,
                                          std::string& text) {
  std::string* const outer = std::exchange(out_, &text);
  FlowOr flow = run_body(body.statements, scope);
  out_ = outer;
  return flow;
}

absl::Status Evaluator::write_text(std::string_view text) {
  RETURN_IF_ERROR(budget_.charge_bytes(text.size()));
  *out_ += text;
  return budget_.check_size(out_->size());
}

absl::Status Evaluator::write(const Value& value) { return append_text(budget_, value, *out_); }

Evaluator::FlowOr Evaluator::run_if(const If& node, const ScopePtr& scope) {
  for (const auto& [condition, body] : node.branches) {
    ASSIGN_OR_RETURN(const bool holds, evaluate_condition(*condition, scope));
    if (holds) return run_body(body, scope);
  }
  return run_body(node.otherwise, scope);
}

Evaluator::FlowOr Evaluator::run_for(const For& node, const ScopePtr& scope) {
  ASSIGN_OR_RETURN(const Value iterable, evaluate(*node.iterable, scope));
  return run_loop(node, iterable, scope, 0);
}

Evaluator::FlowOr Evaluator::run_loop(const For& node, const Value& iterable, const ScopePtr& scope,
                                      int depth0) {
  auto loop = std::make_shared<LoopState>();
  loop->depth0 = depth0;
  if (node.recursive) {
    loop->recursive = &node;
    loop->scope = scope;
  }
  loop->depth = iterable.depth() + 1;
  if (loop->depth > kMaxValueDepth) {
    return absl::InvalidArgumentError("values nest too deeply");
  }
  ASSIGN_OR_RETURN(loop->items, elements_of(budget_, iterable));
  if (node.condition != nullptr) {
    loop->condition = [this, &node, scope](const Value& item) -> absl::StatusOr<bool> {
      const auto inner = std::make_shared<Scope>(scope);
      RETURN_IF_ERROR(budget_.charge_iteration());
      RETURN_IF_ERROR(assign(node.target, item, inner));
      return evaluate_condition(*node.condition, inner);
    };
  }
  const absl::StatusOr<bool> completed_one = run_iterations(node, scope, loop);
  loop->condition = nullptr;
  loop->scope = nullptr;  // a loop that outlives its run must not hold what may hold it
  if (!completed_one.ok()) return completed_one.status();
  return *completed_one ? Flow::kNormal : run_scoped(node.otherwise, scope);
}

absl::StatusOr<bool> Evaluator::run_iterations(const For& node, const ScopePtr& scope,
                                               const std::shared_ptr<LoopState>& loop) {
  for (bool completed_one = false;;) {
    ASSIGN_OR_RETURN(const bool more, loop->advance());
    if (!more) return completed_one;
    RETURN_IF_ERROR(budget_.charge_iteration());
    const ScopePtr inner = enter(node.body, scope);
    RETURN_IF_ERROR(assign(node.target, *loop->current, inner));
    inner->set("loop", Value::of(loop));
    ASSIGN_OR_RETURN(const Flow flow, run_body(node.body.statements, inner));
    if (flow == Flow::kBreak) return completed_one;
    completed_one = completed_one || flow == Flow::kNormal;
  }
}

Evaluator::FlowOr Evaluator::run_set_block(const SetBlock& node, const ScopePtr& scope) {
  std::string text;
  ASSIGN_OR_RETURN(const Flow flow, run_captured(node.body, enter(node.body, scope), text));
  if (flow != Flow::kNormal) return flow;
  Value value = Value::string(std::move(text));
  if (node.filter != nullptr) {
    ASSIGN_OR_RETURN(value, block_filter(*node.filter, std::move(value), scope));
  }
  RETURN_IF_ERROR(assign(node.target, std::move(value), scope));
  return Flow::kNormal;
}

Evaluator::FlowOr Evaluator::run_filter_block(const FilterBlock& node, const ScopePtr& scope) {
  std::string text;
  ASSIGN_OR_RETURN(const Flow flow, run_captured(node.body, enter(node.body, scope), text));
  if (flow != Flow::kNormal) return flow;
  ASSIGN_OR_RETURN(const Value value,
                   block_filter(*node.filter, Value::string(std::move(text)), scope));
  // Jinja joins what a body writes, and joins texts alone.
  if (!value.is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a filter block gave '", value.type_name(), "' instead of text"));
  }
  RETURN_IF_ERROR(write(value));
  return Flow::kNormal;
}

Evaluator::FlowOr Evaluator::run_with(const With& node, const ScopePtr& scope) {
  const ScopePtr inner = enter(node.body, scope);
  for (const auto& [target, expression] : node.assignments) {
    ASSIGN_OR_RETURN(Value value, evaluate(*expression, scope));
    RETURN_IF_ERROR(assign(target, std::move(value), inner));
  }
  return run_body(node.body.statements, inner);
}

// A block sees the template's own names, not those of loops around it, unless it is scoped.
Evaluator::FlowOr Evaluator::run_block(const Block& node, const ScopePtr& scope) {
  return run_scoped(node.body, node.scoped ? scope : root_);
}

absl::Status Evaluator::run_call_block(const CallBlock& node, const ScopePtr& scope) {
  Arguments extra;
  extra.named.emplace_back("caller", make_macro(node.caller, scope));
  ASSIGN_OR_RETURN(const Value value,
                   evaluate_call(std::get<Call>(node.call->node), scope, std::move(extra)));
  return write(value);
}

absl::Status Evaluator::assign(const Target& target, Value value, const ScopePtr& scope) {
  if (target.is_tuple) {
    ASSIGN_OR_RETURN(const std::vector<Value> items, elements_of(budget_, value));
    if (items.size() != target.tuple.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          items.size() < target.tuple.size() ? "not enough" : "too many",
          " values to unpack (expected ", target.tuple.size(), ", got ", items.size(), ")"));
    }
    for (size_t i = 0; i < items.size(); ++i) {
      RETURN_IF_ERROR(assign(target.tuple[i], items[i], scope));
    }
    return absl::OkStatus();
  }
  if (target.attribute.empty()) {
    scope->set(target.name, std::move(value));
    return absl::OkStatus();
  }
  const Value object = look_up(target.name, scope);
  Namespace* space = object.as_namespace();
  if (space == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot assign attribute '", target.attribute, "': '", target.name,
                     "' is not a namespace"));
  }
  RETURN_IF_ERROR(check_namespace_name(target.attribute));
  space->set(target.attribute, std::move(value));
  return absl::OkStatus();
}

}  // namespace conclave::coordinator::jinja
