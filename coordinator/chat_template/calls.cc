// Calling methods, macros, loop functions and global functions.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/evaluator.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

std::optional<Value> take_named(std::vector<std::pair<std::string, Value>>& named,
                                std::string_view name) {
  const auto found = std::find_if(named.begin(), named.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (found == named.end()) return std::nullopt;
  Value value = std::move(found->second);
  named.erase(found);
  return value;
}

// Whether a loop may keep the value: scalars and containers of them, so that no loop holds itself.
absl::StatusOr<bool> is_plain(Budget& budget, const Value& value) {
  RETURN_IF_ERROR(budget.charge_steps(1));
  if (const Sequence* sequence = value.as_sequence()) {
    for (const Value& item : sequence->items) {
      ASSIGN_OR_RETURN(const bool plain, is_plain(budget, item));
      if (!plain) return false;
    }
    return true;
  }
  if (const Dict* dict = value.as_dict()) {
    for (const auto& item : dict->items()) {
      ASSIGN_OR_RETURN(const bool plain, is_plain(budget, item.second));
      if (!plain) return false;
    }
    return true;
  }
  return value.depth() == 0;
}

absl::Status reject_arguments(const Macro& macro, const Arguments& arguments,
                              const std::vector<std::pair<std::string, Value>>& named) {
  if (!macro.uses_kwargs && !named.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("macro '", macro.name,
                                                   "' takes no keyword argument '",
                                                   named.front().first, "'"));
  }
  if (!macro.uses_varargs && arguments.positional.size() > macro.parameters.size()) {
    return absl::InvalidArgumentError(absl::StrCat("macro '", macro.name,
                                                   "' takes not more than ",
                                                   macro.parameters.size(), " argument(s)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Arguments> Evaluator::evaluate_arguments(const CallArguments& call,
                                                        const ScopePtr& scope) {
  Arguments arguments;
  for (const ExpressionPtr& expression : call.positional) {
    ASSIGN_OR_RETURN(Value value, evaluate(*expression, scope));
    arguments.positional.push_back(std::move(value));
  }
  if (call.more_positional != nullptr) {
    ASSIGN_OR_RETURN(const Value rest, evaluate(*call.more_positional, scope));
    ASSIGN_OR_RETURN(std::vector<Value> items, elements_of(budget_, rest));
    for (Value& item : items) arguments.positional.push_back(std::move(item));
  }
  for (const auto& [name, expression] : call.named) {
    ASSIGN_OR_RETURN(Value value, evaluate(*expression, scope));
    arguments.named.emplace_back(name, std::move(value));
  }
  if (call.more_named != nullptr) {
    ASSIGN_OR_RETURN(const Value rest, evaluate(*call.more_named, scope));
    const Dict* dict = rest.as_dict();
    if (dict == nullptr) {
      return absl::InvalidArgumentError("the argument after ** must be a mapping");
    }
    RETURN_IF_ERROR(budget_.charge_steps(dict->items().size()));
    for (const auto& [key, value] : dict->items()) {
      if (!key.is_string()) return absl::InvalidArgumentError("keywords must be strings");
      arguments.named.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

absl::Status Evaluator::charge_call(const Value& input, const Arguments& arguments) {
  if (!input.is_string()) return absl::OkStatus();
  size_t longest = 0;
  for (const Value& argument : arguments.positional) {
    if (argument.is_string()) longest = std::max(longest, argument.text().size());
  }
  for (const auto& argument : arguments.named) {
    if (argument.second.is_string()) longest = std::max(longest, argument.second.text().size());
  }
  return budget_.charge_search(input.text().size(), longest);
}

absl::StatusOr<Value> Evaluator::evaluate_call(const Call& call, const ScopePtr& scope,
                                               Arguments extra) {
  const int line = line_;
  const auto* attribute = std::get_if<Attribute>(&call.callee->node);
  Value callee;
  Value object;
  Method method = nullptr;
  if (attribute != nullptr) {
    ASSIGN_OR_RETURN(object, evaluate(*attribute->object, scope));
    method = find_method(object, attribute->name);
    if (method == nullptr) {
      ASSIGN_OR_RETURN(callee, get_attribute(object, attribute->name));
    }
  } else {
    ASSIGN_OR_RETURN(callee, evaluate(*call.callee, scope));
  }
  ASSIGN_OR_RETURN(Arguments arguments, evaluate_arguments(call.arguments, scope));
  for (auto& entry : extra.named) arguments.named.push_back(std::move(entry));
  line_ = line;
  if (method == nullptr) return call_value(callee, arguments);
  RETURN_IF_ERROR(charge_call(object, arguments));
  return call_method(budget_, object, attribute->name, arguments);
}

absl::StatusOr<Value> Evaluator::call_value(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return absl::InvalidArgumentError(callee.undefined_message());
  if (Cycler* cycler = callee.as_cycler(); cycler != nullptr && cycler->joiner)
    return advance(*cycler, arguments);
  if (LoopState* loop = callee.as_loop()) return call_loop(*loop, arguments);
  const Callable* callable = callee.as_callable();
  if (callable == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", callee.type_name(), "' object is not callable"));
  }
  if (callable->kind == Callable::Kind::kMacro) return call_macro(*callable, arguments);
  if (callable->kind == Callable::Kind::kGlobal) return call_global(callable->name, arguments);
  if (LoopState* loop = callable->self.as_loop()) {
    return call_loop_method(*loop, callable->name, arguments);
  }
  if (Cycler* cycler = callable->self.as_cycler()) {
    if (callable->name == "next") return advance(*cycler, arguments);
    RETURN_IF_ERROR(BoundArguments::bind("reset", arguments, {}).status());
    cycler->position = 0;
    return Value();
  }
  RETURN_IF_ERROR(charge_call(callable->self, arguments));
  return call_method(budget_, callable->self, callable->name, arguments);
}

// What the counter is at; then it goes on. A joiner stays at its separator.
absl::StatusOr<Value> Evaluator::advance(Cycler& cycler, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind(cycler.joiner ? "joiner" : "next", arguments, {}).status());
  Value current = cycler.items[cycler.position];
  cycler.position = cycler.joiner ? 1 : (cycler.position + 1) % cycler.items.size();
  return current;
}

absl::StatusOr<Value> Evaluator::make_cycler(bool joiner, const Arguments& arguments) {
  auto cycler = std::make_shared<Cycler>();
  cycler->joiner = joiner;
  if (joiner) {
    ASSIGN_OR_RETURN(const BoundArguments bound,
                     BoundArguments::bind("joiner", arguments, {"sep"}));
    cycler->items = {Value::string(""),
                     bound.get(0) == nullptr ? Value::string(", ") : *bound.get(0)};
  } else {
    if (!arguments.named.empty())
      return absl::InvalidArgumentError("cycler() takes no keyword arguments");
    if (arguments.positional.empty())
      return absl::InvalidArgumentError("at least one item has to be provided");
    cycler->items = arguments.positional;
  }
  ASSIGN_OR_RETURN(const Value items, make_list(cycler->items));  // for their depth
  cycler->depth = items.depth();
  RETURN_IF_ERROR(budget_.charge_bytes(cycler->items.size() * sizeof(Value)));
  return Value::of(std::move(cycler));
}

absl::StatusOr<Value> Evaluator::call_loop(LoopState& loop, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("loop", arguments, {"iterable"}, 1));
  if (loop.recursive == nullptr) {
    return absl::InvalidArgumentError(
        "The loop must have the 'recursive' marker to be called recursively.");
  }
  if (loop.scope == nullptr)
    return absl::InvalidArgumentError("a loop that is over cannot be called");
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  const absl::StatusOr<Flow> flow =
      run_loop(*loop.recursive, *bound.get(0), loop.scope, loop.depth0 + 1);
  out_ = outer;
  if (!flow.ok()) return flow.status();
  return Value::string(std::move(text));
}

absl::StatusOr<Value> Evaluator::call_global(std::string_view name, const Arguments& arguments) {
  if (name == "range") return call_range(budget_, arguments);
  if (name == "dict") return call_dict(budget_, arguments);
  if (name == "strftime_now") return call_strftime_now(arguments);
  if (name == "namespace") return make_namespace(arguments);
  if (name == "cycler" || name == "joiner") return make_cycler(name == "joiner", arguments);
  if (name == "lipsum")
    return absl::UnimplementedError("lipsum(), which writes random words, is not supported");
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("raise_exception", arguments, {"message"}, 1));
  ASSIGN_OR_RETURN(const std::string message, to_text(budget_, *bound.get(0)));
  raised_ = true;
  return absl::InvalidArgumentError(message);
}

absl::StatusOr<Value> Evaluator::make_namespace(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const Value initial, call_dict(budget_, arguments));
  auto space = std::make_shared<Namespace>();
  for (const auto& [key, value] : initial.as_dict()->items()) {
    if (!key.is_string()) continue;
    RETURN_IF_ERROR(check_namespace_name(key.text()));
    space->attributes.emplace_back(key.text(), value);
  }
  RETURN_IF_ERROR(budget_.charge_bytes(sizeof(Namespace)));
  namespaces_.push_back(space);
  return Value::of(std::move(space));
}

absl::StatusOr<Value> Evaluator::call_loop_method(LoopState& loop, std::string_view name,
                                                  const Arguments& arguments) {
  const std::vector<Value>& given = arguments.positional;
  if (name == "cycle") {
    if (given.empty()) return absl::InvalidArgumentError("no items for cycling given");
    return given[static_cast<size_t>(loop.index0) % given.size()];
  }
  for (const Value& value : given) {
    ASSIGN_OR_RETURN(const bool plain, is_plain(budget_, value));
    if (!plain) return absl::InvalidArgumentError("loop.changed() takes no functions and loops");
  }
  ASSIGN_OR_RETURN(const Value now, make_sequence(SequenceKind::kTuple, given));
  bool same = false;
  if (loop.last_changed) {
    ASSIGN_OR_RETURN(same, equals(budget_, *loop.last_changed, now));
  }
  loop.last_changed = now;
  return Value::boolean(!same);
}

Value Evaluator::make_macro(const std::shared_ptr<Macro>& macro, const ScopePtr& scope) {
  if (!scope->captured) {
    scope->captured = true;
    captured_scopes_.push_back(scope);
  }
  auto callable = std::make_shared<Callable>();
  callable->kind = Callable::Kind::kMacro;
  callable->name = macro->name;
  callable->macro = macro.get();
  callable->scope = scope;
  return Value::of(std::shared_ptr<const Callable>(std::move(callable)));
}

absl::Status Evaluator::bind_parameters(const Callable& callable, const Arguments& arguments,
                                        const ScopePtr& scope) {
  const Macro& macro = *callable.macro;
  auto named = arguments.named;
  std::vector<const Parameter*> missing;
  bool has_caller = false;
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    has_caller = has_caller || parameter.name == "caller";
    std::optional<Value> value;
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else {
      value = take_named(named, parameter.name);
    }
    if (!value) missing.push_back(&parameter);
    scope->set(parameter.name, value ? *std::move(value)
                                     : Value::undefined(absl::StrCat("parameter '", parameter.name,
                                                                     "' was not provided")));
  }
  if (macro.uses_caller && !has_caller) {
    const std::optional<Value> caller = take_named(named, "caller");
    scope->set("caller", caller ? *caller : Value::undefined("No caller defined"));
  }
  RETURN_IF_ERROR(reject_arguments(macro, arguments, named));
  if (macro.uses_kwargs) {
    auto rest = std::make_shared<Dict>();
    for (auto& [name, value] : named) {
      RETURN_IF_ERROR(rest->insert(Value::string(name), std::move(value)));
    }
    scope->set("kwargs", Value::of(std::shared_ptr<const Dict>(std::move(rest))));
  }
  if (macro.uses_varargs) {
    std::vector<Value> rest;
    for (size_t i = macro.parameters.size(); i < arguments.positional.size(); ++i) {
      rest.push_back(arguments.positional[i]);
    }
    ASSIGN_OR_RETURN(Value tuple, make_sequence(SequenceKind::kTuple, std::move(rest)));
    scope->set("varargs", std::move(tuple));
  }
  for (const Parameter* parameter : missing) {
    if (parameter->default_value == nullptr) continue;
    ASSIGN_OR_RETURN(Value value, evaluate(*parameter->default_value, scope));
    scope->set(parameter->name, std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::call_macro(const Callable& callable, const Arguments& arguments) {
  const ScopePtr scope = enter(callable.macro->body, callable.scope);
  RETURN_IF_ERROR(bind_parameters(callable, arguments, scope));
  std::string text;
  RETURN_IF_ERROR(run_captured(callable.macro->body, scope, text).status());
  return Value::string(std::move(text));
}

}  // namespace conclave::coordinator::jinja
