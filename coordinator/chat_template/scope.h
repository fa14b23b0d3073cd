#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SCOPE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SCOPE_H_

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// The variables of one run of a body. Names point into the syntax tree, which outlives the render.
class Scope {
 public:
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  // Here or in a scope around; null if there is none.
  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
      for (const auto& variable : scope->variables_) {
        if (variable.first == name) return &variable.second;
      }
    }
    return nullptr;
  }
  void set(std::string_view name, Value value) {
    for (auto& variable : variables_) {
      if (variable.first != name) continue;
      variable.second = std::move(value);
      return;
    }
    variables_.emplace_back(name, std::move(value));
  }
  // Breaks the cycles that macros make: a macro's scope can hold that macro.
  void clear() { variables_.clear(); }

  bool captured = false;  // by a macro

 private:
  std::shared_ptr<Scope> parent_;
  std::vector<std::pair<std::string_view, Value>> variables_;
};

using ScopePtr = std::shared_ptr<Scope>;

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SCOPE_H_
