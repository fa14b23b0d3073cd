#include "coordinator/chat_template/name_check.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "coordinator/chat_template/evaluator.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/predicates.h"

namespace conclave::coordinator::jinja {
namespace {

class NameChecker {
 public:
  explicit NameChecker(const std::set<std::string>& outside) : outside_(outside) {}

  void visit(const Expression& expression, bool soft) {
    if (const auto* filter = std::get_if<Filter>(&expression.node)) {
      if (find_filter(filter->name) == nullptr)
        unknown("filter", filter->name, expression.line, soft);
    } else if (const auto* test = std::get_if<Test>(&expression.node)) {
      if (find_predicate(test->name) == nullptr) unknown("test", test->name, expression.line, soft);
    } else if (const auto* name = std::get_if<NameReference>(&expression.node)) {
      if (name->name == "self" && outside_.contains("self")) {
        fail(absl::StrCat("line ", expression.line,
                          ": 'self', the blocks of a template, is not supported"));
      }
    } else if (const auto* call = std::get_if<Call>(&expression.node)) {
      check_callee(*call, expression.line);
    }
    const bool below = soft || std::holds_alternative<Conditional>(expression.node);
    for_each_child(expression, [&](const Expression& child) { visit(child, below); });
  }

  absl::StatusOr<std::vector<std::string>> result() {
    if (!error_.ok()) return error_;
    return std::move(warnings_);
  }

 private:
  void unknown(std::string_view kind, const std::string& name, int line, bool soft) {
    std::string said =
        absl::StrCat("line ", line, ": No ", std::string(kind), " named '", name, "'.");
    if (soft) return warn(std::move(said));
    fail(std::move(said));
  }
  void fail(std::string said) {
    if (error_.ok()) error_ = absl::InvalidArgumentError(said);
  }
  void check_callee(const Call& call, int line) {
    const auto* name = std::get_if<NameReference>(&call.callee->node);
    if (name == nullptr || is_global_function(name->name) || !outside_.contains(name->name)) return;
    warn(absl::StrCat(
        "line ", line, ": it calls '", name->name,
        "', which is no function of Jinja's or transformers' and is not defined in the template"));
  }
  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  const std::set<std::string>& outside_;
  absl::Status error_;
  std::vector<std::string> warnings_;
};

void collect_literals(const Expression& expression, std::set<std::string>& found) {
  if (const auto* literal = std::get_if<Literal>(&expression.node);
      literal != nullptr && literal->value.is_string()) {
    found.insert(literal->value.text());
  }
  for_each_child(expression, [&](const Expression& child) { collect_literals(child, found); });
}

}  // namespace

std::set<std::string> string_literals(const Body& body) {
  std::set<std::string> found;
  for_each_expression(body, false, [&](const Expression& expression, bool) {
    collect_literals(expression, found);
  });
  return found;
}

absl::StatusOr<std::vector<std::string>> check_names(const Body& body,
                                                     const std::set<std::string>& outside) {
  NameChecker checker(outside);
  for_each_expression(body, false, [&](const Expression& expression, bool soft) {
    checker.visit(expression, soft);
  });
  return checker.result();
}

}  // namespace conclave::coordinator::jinja
