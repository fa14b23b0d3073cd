#include "coordinator/chat_template/loop_state.h"

#include <utility>

#include "base/status_macros.h"

namespace conclave::coordinator::jinja {

absl::StatusOr<std::optional<Value>> LoopState::take() {
  while (next_item < items.size()) {
    Value item = items[next_item++];
    if (!condition) return std::optional<Value>(std::move(item));
    ASSIGN_OR_RETURN(const bool keep, condition(item));
    if (keep) return std::optional<Value>(std::move(item));
  }
  return std::optional<Value>();
}

absl::StatusOr<bool> LoopState::peek() {
  if (!ahead) {
    ASSIGN_OR_RETURN(ahead, take());
  }
  return ahead.has_value();
}

absl::StatusOr<bool> LoopState::advance() {
  ASSIGN_OR_RETURN(const bool more, peek());
  if (!more) return false;
  previous = std::move(current);
  current = std::move(ahead);
  ahead.reset();
  ++index0;
  return true;
}

absl::StatusOr<int64_t> LoopState::length() {
  if (condition) {
    std::vector<Value> rest;
    for (;;) {
      ASSIGN_OR_RETURN(std::optional<Value> item, take());
      if (!item) break;
      rest.push_back(*std::move(item));
    }
    items = std::move(rest);
    next_item = 0;
    condition = nullptr;
  }
  return index0 + 1 + (ahead ? 1 : 0) + static_cast<int64_t>(items.size() - next_item);
}

absl::StatusOr<std::optional<Value>> LoopState::attribute(std::string_view name) {
  using Result = std::optional<Value>;
  if (name == "index0") return Result(Value::integer(index0));
  if (name == "index") return Result(Value::integer(index0 + 1));
  if (name == "first") return Result(Value::boolean(index0 == 0));
  if (name == "depth0") return Result(Value::integer(depth0));
  if (name == "depth") return Result(Value::integer(depth0 + 1));
  if (name == "previtem") {
    return Result(previous && index0 > 0 ? *previous
                                         : Value::undefined("there is no previous item"));
  }
  if (name == "last" || name == "nextitem") {
    ASSIGN_OR_RETURN(const bool more, peek());
    if (name == "last") return Result(Value::boolean(!more));
    return Result(more ? *ahead : Value::undefined("there is no next item"));
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    ASSIGN_OR_RETURN(const int64_t total, length());
    if (name == "length") return Result(Value::integer(total));
    return Result(Value::integer(total - index0 - (name == "revindex" ? 0 : 1)));
  }
  return Result();
}

}  // namespace conclave::coordinator::jinja
