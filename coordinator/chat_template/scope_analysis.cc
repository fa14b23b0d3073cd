#include "coordinator/chat_template/scope_analysis.h"

#include <map>
#include <utility>

namespace conclave::coordinator::jinja {
namespace {

// The names of one scope. Copied for each branch of an if and merged again.
struct Symbols {
  // How the name starts out: undefined, or looked up outside.
  std::map<std::string, bool> starts_undefined;
  std::set<std::string> stores;
  std::set<std::string> parameters;
  const Symbols* parent = nullptr;

  bool known(const std::string& name) const {
    for (const Symbols* scope = this; scope != nullptr; scope = scope->parent) {
      if (scope->starts_undefined.contains(name)) return true;
    }
    return false;
  }
  void load(const std::string& name) {
    if (!known(name)) starts_undefined[name] = false;
  }
  void parameter(const std::string& name) {
    stores.insert(name);
    parameters.insert(name);
    starts_undefined[name] = false;
  }
  void store(const std::string& name) {
    stores.insert(name);
    if (starts_undefined.contains(name)) return;
    starts_undefined[name] = parent == nullptr || !parent->known(name);
  }
  // A name assigned in some branches but not in all is looked up outside as well.
  void merge(const std::vector<Symbols>& branches) {
    std::map<std::string, size_t> counts;
    for (const Symbols& branch : branches) {
      for (const std::string& name : branch.stores) {
        if (!stores.contains(name)) ++counts[name];
      }
    }
    for (const Symbols& branch : branches) {
      for (const auto& [name, undefined] : branch.starts_undefined) {
        starts_undefined[name] = undefined;
      }
      stores.insert(branch.stores.begin(), branch.stores.end());
    }
    for (const auto& [name, count] : counts) {
      if (count != branches.size()) starts_undefined[name] = false;
    }
  }
};

void load_names(const Expression& expression, Symbols& symbols) {
  if (const auto* name = std::get_if<NameReference>(&expression.node)) symbols.load(name->name);
  for_each_child(expression, [&](const Expression& child) { load_names(child, symbols); });
}

void load_names(const ExpressionPtr& expression, Symbols& symbols) {
  if (expression != nullptr) load_names(*expression, symbols);
}

void store_target(const Target& target, Symbols& symbols) {
  for (const Target& part : target.tuple) store_target(part, symbols);
  if (target.is_tuple) return;
  if (target.attribute.empty()) {
    symbols.store(target.name);
  } else {
    symbols.load(target.name);
  }
}

void declare_target(const Target& target, Symbols& symbols) {
  for (const Target& part : target.tuple) declare_target(part, symbols);
  if (!target.is_tuple) symbols.parameter(target.name);
}

void collect(const Body& body, Symbols& symbols);

// What a statement reads and assigns in the scope it stands in; bodies with a scope of their own are
// not looked into.
class Collector {
 public:
  explicit Collector(Symbols& symbols) : symbols_(symbols) {}

  void operator()(const Text&) const {}
  void operator()(const Break&) const {}
  void operator()(const Continue&) const {}
  void operator()(const Generation&) const {}
  void operator()(const Block&) const {}
  void operator()(const Output& node) const { load_names(node.expression, symbols_); }
  void operator()(const If& node) const { merge_if(node, symbols_); }
  void operator()(const For& node) const { load_names(node.iterable, symbols_); }
  void operator()(const Set& node) const {
    load_names(node.value, symbols_);
    store_target(node.target, symbols_);
  }
  void operator()(const SetBlock& node) const { store_target(node.target, symbols_); }
  void operator()(const MacroDefinition& node) const { symbols_.store(node.macro->name); }
  void operator()(const CallBlock& node) const { load_names(node.call, symbols_); }
  void operator()(const FilterBlock& node) const { load_names(node.filter, symbols_); }
  void operator()(const With& node) const {
    for (const auto& assignment : node.assignments) load_names(assignment.second, symbols_);
  }

 private:
  // Jinja sees the `elif`s as one branch that holds if statements of their own, one after the other.
  static void merge_if(const If& node, Symbols& symbols) {
    load_names(node.branches[0].first, symbols);
    std::vector<Symbols> branches(3, symbols);
    collect(node.branches[0].second, branches[0]);
    for (size_t i = 1; i < node.branches.size(); ++i) {
      merge_elif(node.branches[i], branches[1]);
    }
    collect(node.otherwise, branches[2]);
    symbols.merge(branches);
  }
  static void merge_elif(const std::pair<ExpressionPtr, Body>& elif, Symbols& symbols) {
    load_names(elif.first, symbols);
    std::vector<Symbols> branches(3, symbols);
    collect(elif.second, branches[0]);
    symbols.merge(branches);
  }
  Symbols& symbols_;
};

void collect(const Body& body, Symbols& symbols) {
  for (const Statement& statement : body) std::visit(Collector(symbols), statement.node);
}

void analyze_body(ScopedBody& body, Symbols symbols, std::set<std::string>& outside);

// Visits the scoped bodies directly inside a scope.
class Descender {
 public:
  Descender(const Symbols& symbols, std::set<std::string>& outside)
      : symbols_(symbols), outside_(outside) {}

  template <typename Leaf>
  void operator()(Leaf&) const {}
  void operator()(If& node) const {
    for (auto& branch : node.branches) all(branch.second);
    all(node.otherwise);
  }
  void operator()(For& node) const {
    Symbols inner = child();
    declare_target(node.target, inner);
    inner.parameter("loop");
    analyze(node.body, inner);
    analyze(node.otherwise, child());
  }
  void operator()(SetBlock& node) const { analyze(node.body, child()); }
  void operator()(MacroDefinition& node) const { callable(*node.macro); }
  void operator()(CallBlock& node) const { callable(*node.caller); }
  void operator()(FilterBlock& node) const { analyze(node.body, child()); }
  void operator()(Generation& node) const { analyze(node.body, child()); }
  void operator()(Block& node) const {
    const Symbols* around = &symbols_;
    while (!node.scoped && around->parent != nullptr) around = around->parent;
    Symbols inner;
    inner.parent = around;
    analyze(node.body, inner);
  }
  void operator()(With& node) const {
    Symbols inner = child();
    for (const auto& assignment : node.assignments) declare_target(assignment.first, inner);
    analyze(node.body, inner);
  }
  void all(Body& body) const {
    for (Statement& statement : body) std::visit(*this, statement.node);
  }

 private:
  Symbols child() const {
    Symbols inner;
    inner.parent = &symbols_;
    return inner;
  }
  void callable(Macro& macro) const {
    Symbols inner = child();
    for (const Parameter& parameter : macro.parameters) inner.parameter(parameter.name);
    if (macro.uses_caller) inner.parameter("caller");
    if (macro.uses_varargs) inner.parameter("varargs");
    if (macro.uses_kwargs) inner.parameter("kwargs");
    analyze(macro.body, inner);
  }
  void analyze(ScopedBody& body, Symbols symbols) const {
    analyze_body(body, std::move(symbols), outside_);
  }
  const Symbols& symbols_;
  std::set<std::string>& outside_;
};

void analyze_body(ScopedBody& body, Symbols symbols, std::set<std::string>& outside) {
  collect(body.statements, symbols);
  for (const auto& [name, undefined] : symbols.starts_undefined) {
    if (undefined) {
      body.undefined_at_entry.push_back(name);
    } else if (!symbols.parameters.contains(name) &&
               (symbols.parent == nullptr || !symbols.parent->known(name))) {
      outside.insert(name);
    }
  }
  Descender(symbols, outside).all(body.statements);
}

}  // namespace

std::set<std::string> analyze_scopes(ScopedBody& template_body) {
  std::set<std::string> outside;
  analyze_body(template_body, Symbols(), outside);
  return outside;
}

}  // namespace conclave::coordinator::jinja
