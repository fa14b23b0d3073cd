#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_EVALUATOR_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_EVALUATOR_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/ast.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/loop_state.h"
#include "coordinator/chat_template/scope.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// One render of one template: walks the tree, writes the text. Used once, by one thread; the tree must
// outlive it.
class Evaluator {
 public:
  // variables: a dict.
  Evaluator(Value variables, const RenderLimits& limits);
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  absl::StatusOr<std::string> render(const ScopedBody& body);
  // After an error: where it happened, and whether the template itself raised it.
  int line() const { return line_; }
  bool raised_by_template() const { return raised_; }

 private:
  friend class StatementRunner;
  friend class ExpressionEvaluator;
  enum class Flow { kNormal, kBreak, kContinue };
  using FlowOr = absl::StatusOr<Flow>;
  using ValueOr = absl::StatusOr<Value>;

  // Statements (evaluator.cc).
  FlowOr run_body(const Body& body, const ScopePtr& scope);
  FlowOr run(const Statement& statement, const ScopePtr& scope);
  FlowOr run_scoped(const ScopedBody& body, const ScopePtr& scope);
  FlowOr run_captured(const ScopedBody& body, const ScopePtr& scope, std::string& text);
  FlowOr run_if(const If& node, const ScopePtr& scope);
  FlowOr run_for(const For& node, const ScopePtr& scope);
  FlowOr run_loop(const For& node, const Value& iterable, const ScopePtr& scope, int depth0);
  FlowOr run_block(const Block& node, const ScopePtr& scope);
  // Whether an iteration reached its end: as in Jinja, the else branch runs unless one did.
  absl::StatusOr<bool> run_iterations(const For& node, const ScopePtr& scope,
                                      const std::shared_ptr<LoopState>& loop);
  FlowOr run_set_block(const SetBlock& node, const ScopePtr& scope);
  FlowOr run_filter_block(const FilterBlock& node, const ScopePtr& scope);
  FlowOr run_with(const With& node, const ScopePtr& scope);
  absl::Status run_call_block(const CallBlock& node, const ScopePtr& scope);
  absl::Status assign(const Target& target, Value value, const ScopePtr& scope);
  absl::Status write_text(std::string_view text);
  absl::Status write(const Value& value);
  ScopePtr enter(const ScopedBody& body, const ScopePtr& parent);

  // Expressions (expression_evaluator.cc).
  ValueOr evaluate(const Expression& expression, const ScopePtr& scope);
  absl::StatusOr<bool> evaluate_condition(const Expression& expression, const ScopePtr& scope);
  ValueOr block_filter(const Expression& filter, Value input, const ScopePtr& scope);
  Value look_up(std::string_view name, const ScopePtr& scope) const;

  // Calls (calls.cc).
  absl::StatusOr<Arguments> evaluate_arguments(const CallArguments& call, const ScopePtr& scope);
  ValueOr evaluate_call(const Call& call, const ScopePtr& scope, Arguments extra);
  ValueOr call_value(const Value& callee, const Arguments& arguments);
  ValueOr call_global(std::string_view name, const Arguments& arguments);
  ValueOr call_loop(LoopState& loop, const Arguments& arguments);
  ValueOr advance(Cycler& cycler, const Arguments& arguments);
  ValueOr make_cycler(bool joiner, const Arguments& arguments);
  ValueOr call_loop_method(LoopState& loop, std::string_view name, const Arguments& arguments);
  ValueOr call_macro(const Callable& callable, const Arguments& arguments);
  absl::Status bind_parameters(const Callable& callable, const Arguments& arguments,
                               const ScopePtr& scope);
  ValueOr make_namespace(const Arguments& arguments);
  Value make_macro(const std::shared_ptr<Macro>& macro, const ScopePtr& scope);
  absl::Status charge_call(const Value& input, const Arguments& arguments);

  const Value variables_;
  Budget budget_;
  std::string* out_ = nullptr;
  ScopePtr root_;     // the template's own names, which blocks see
  Value block_text_;  // what a filter without input applies to
  int depth_ = 0;
  int line_ = 1;
  bool raised_ = false;
  // Whatever can be part of a cycle of values; emptied at the end.
  std::vector<ScopePtr> captured_scopes_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// INVALID_ARGUMENT for names that transformers keeps out of namespaces: those that start with an
// underscore.
absl::Status check_namespace_name(std::string_view name);

// The functions that every template can call; undefined if there is none of this name.
bool is_global_function(std::string_view name);
std::vector<std::string_view> global_function_names();
absl::StatusOr<Value> call_range(Budget& budget, const Arguments& arguments);
absl::StatusOr<Value> call_dict(Budget& budget, const Arguments& arguments);
absl::StatusOr<Value> call_strftime_now(const Arguments& arguments);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_EVALUATOR_H_
