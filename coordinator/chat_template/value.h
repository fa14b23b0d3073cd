#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_H_

// The values that a template computes with: Python's, as far as chat templates see them. All are
// immutable but Namespace (which exists to be assigned to) and one-shot iterators. A Value is a small
// handle, cheap to copy. Values of one render stay on the thread that renders.

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::coordinator::jinja {

class Value;
struct Sequence;
class Dict;
struct Namespace;
struct Callable;
struct LoopState;
struct Cycler;

// Jinja's default Undefined: prints as nothing, is false and empty; using it otherwise is an error
// with this message.
struct Undefined {
  std::shared_ptr<const std::string> message;
};
struct None {};
// markupsafe's Markup: text that is escaped already. A str in all, but it escapes what is put into
// it.
struct Markup {
  std::string text;
};

class Value {
 public:
  Value() : data_(None{}) {}
  static Value undefined(std::string message);
  static Value boolean(bool value) { return Value(Data(value)); }
  static Value integer(int64_t value) { return Value(Data(value)); }
  static Value real(double value) { return Value(Data(value)); }
  static Value string(std::string value);
  static Value string(std::string_view value) { return string(std::string(value)); }
  static Value string(const char* value) { return string(std::string(value)); }
  static Value markup(std::string value);
  static Value of(std::shared_ptr<Cycler> value) { return Value(Data(std::move(value))); }
  static Value of(std::shared_ptr<Sequence> value) { return Value(Data(std::move(value))); }
  static Value of(std::shared_ptr<const Dict> value) { return Value(Data(std::move(value))); }
  static Value of(std::shared_ptr<Namespace> value) { return Value(Data(std::move(value))); }
  static Value of(std::shared_ptr<const Callable> value) { return Value(Data(std::move(value))); }
  static Value of(std::shared_ptr<LoopState> value) { return Value(Data(std::move(value))); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return std::holds_alternative<StringPtr>(data_) || is_markup(); }
  bool is_markup() const { return std::holds_alternative<MarkupPtr>(data_); }

  // Precondition: the matching is_*() or a non-null as_*().
  const std::string& text() const {
    const MarkupPtr* marked = std::get_if<MarkupPtr>(&data_);
    return marked != nullptr ? (*marked)->text : **std::get_if<StringPtr>(&data_);
  }
  double number() const;                     // of a bool, int or float
  std::optional<int64_t> integral() const;   // of a bool or int; nothing otherwise
  const std::string& undefined_message() const;

  Sequence* as_sequence() const { return pointer<std::shared_ptr<Sequence>>(); }
  const Dict* as_dict() const { return pointer<std::shared_ptr<const Dict>>(); }
  Namespace* as_namespace() const { return pointer<std::shared_ptr<Namespace>>(); }
  const Callable* as_callable() const { return pointer<std::shared_ptr<const Callable>>(); }
  Cycler* as_cycler() const { return pointer<std::shared_ptr<Cycler>>(); }
  LoopState* as_loop() const { return pointer<std::shared_ptr<LoopState>>(); }

  // Python's bool(x).
  bool truthy() const;
  // Python's `is` for containers; for scalars the same type and value.
  bool same_as(const Value& other) const;
  // The value inside (or itself) that Python cannot hash, such as a list; null if there is none.
  const Value* unhashable() const;
  // How deeply containers nest inside, 0 for scalars.
  int depth() const;
  // "str", "int", "list", ... as Python's type(x).__name__.
  std::string type_name() const;

 private:
  using StringPtr = std::shared_ptr<const std::string>;
  using MarkupPtr = std::shared_ptr<const Markup>;
  using Data = std::variant<None, Undefined, bool, int64_t, double, StringPtr,
                            std::shared_ptr<Sequence>, std::shared_ptr<const Dict>,
                            std::shared_ptr<Namespace>, std::shared_ptr<const Callable>,
                            std::shared_ptr<LoopState>, MarkupPtr, std::shared_ptr<Cycler>>;
  explicit Value(Data data) : data_(std::move(data)) {}
  template <typename Pointer>
  auto pointer() const -> decltype(std::declval<Pointer>().get()) {
    const Pointer* found = std::get_if<Pointer>(&data_);
    return found == nullptr ? nullptr : found->get();
  }

  Data data_;
};

// Of two numbers, exactly: an int is not rounded to compare with a float.
std::partial_ordering compare_numbers(const Value& a, const Value& b);

// What a short text costs as a value of its own, allocations included; for budgets.
inline constexpr size_t kTextValueBytes = 4 * sizeof(Value);

enum class SequenceKind { kList, kTuple, kRange, kKeys, kValues, kItems, kIterator };

// Everything that holds values in order. An iterator (what map, select, reverse and the like return)
// yields its items once.
struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  std::vector<Value> items;
  int depth = 1;
  std::string range_text;  // repr of a range
  bool consumed = false;   // of an iterator
  absl::Status failure;    // of an iterator: what asking for its items ends with
  bool group = false;      // groupby's tuple: items are also .grouper and .list
  int64_t start = 0, stop = 0, step = 1;  // of a range
};

// Errors if the elements nest deeper than kMaxValueDepth.
absl::StatusOr<Value> make_sequence(SequenceKind kind, std::vector<Value> items);
inline absl::StatusOr<Value> make_list(std::vector<Value> items) {
  return make_sequence(SequenceKind::kList, std::move(items));
}
// Of code-built lists whose elements are scalars or pairs of values already checked.
Value make_string_list(const std::vector<std::string_view>& items);

// Insertion-ordered. Keys are strings, numbers, bools and None (True, 1 and 1.0 are one key).
class Dict {
 public:
  using Item = std::pair<Value, Value>;
  // Replaces the value of an equal key. INVALID_ARGUMENT for other key types and too deep nesting.
  absl::Status insert(Value key, Value value);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<Item>& items() const { return items_; }
  int depth() const { return depth_; }

 private:
  std::optional<size_t> position(const Value& key) const;
  std::vector<Item> items_;
  std::unordered_map<std::string, size_t> by_text_;
  int depth_ = 1;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

// Jinja's cycler and joiner: counters that a template advances. Their items never change.
struct Cycler {
  bool joiner = false;
  std::vector<Value> items;  // of a joiner: "", then its separator for ever
  size_t position = 0;
  int depth = 1;
};

struct Macro;  // AST node
class Scope;

// A function that a template can call.
struct Callable {
  enum class Kind { kGlobal, kMethod, kMacro };
  Kind kind = Kind::kGlobal;
  std::string name;
  Value self;                    // of a method
  const Macro* macro = nullptr;  // of a macro, with the scope it closes over
  std::shared_ptr<Scope> scope;
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_VALUE_H_
