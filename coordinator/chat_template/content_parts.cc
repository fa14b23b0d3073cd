#include "coordinator/chat_template/content_parts.h"

#include <algorithm>
#include <string_view>

namespace conclave::coordinator::jinja {
namespace {

constexpr std::string_view kContent = "content";

bool is_content(const Expression& expression) {
  if (const auto* name = std::get_if<NameReference>(&expression.node)) return name->name == kContent;
  if (const auto* attribute = std::get_if<Attribute>(&expression.node))
    return attribute->name == kContent;
  const auto* subscript = std::get_if<Subscript>(&expression.node);
  if (subscript == nullptr || subscript->key == nullptr) return false;
  const auto* key = std::get_if<Literal>(&subscript->key->node);
  return key != nullptr && key->value.is_string() && key->value.text() == kContent;
}

struct LoopFinder {
  template <typename Leaf>
  bool operator()(const Leaf&) const {
    return false;
  }
  bool operator()(const If& node) const {
    const auto in_branch = [](const auto& branch) { return loops_over_content(branch.second); };
    return std::any_of(node.branches.begin(), node.branches.end(), in_branch) ||
           loops_over_content(node.otherwise);
  }
  bool operator()(const For& node) const {
    return is_content(*node.iterable) || scoped(node.body) || scoped(node.otherwise);
  }
  bool operator()(const SetBlock& node) const { return scoped(node.body); }
  bool operator()(const MacroDefinition& node) const { return scoped(node.macro->body); }
  bool operator()(const CallBlock& node) const { return scoped(node.caller->body); }
  bool operator()(const FilterBlock& node) const { return scoped(node.body); }
  bool operator()(const With& node) const { return scoped(node.body); }
  bool operator()(const Block& node) const { return scoped(node.body); }
  bool operator()(const Generation& node) const { return scoped(node.body); }

 private:
  static bool scoped(const ScopedBody& body) { return loops_over_content(body.statements); }
};

}  // namespace

bool loops_over_content(const Body& body) {
  return std::any_of(body.begin(), body.end(), [](const Statement& statement) {
    return std::visit(LoopFinder(), statement.node);
  });
}

}  // namespace conclave::coordinator::jinja
