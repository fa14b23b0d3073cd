#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LOOP_STATE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LOOP_STATE_H_

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

struct For;

// The `loop` variable of a for statement. The condition of `for x in xs if ...` is asked lazily, item
// by item, as the body may change what it depends on; loop.last looks one item ahead, loop.length at
// all of them.
struct LoopState {
  using Condition = std::function<absl::StatusOr<bool>(const Value&)>;

  std::vector<Value> items;
  Condition condition;  // empty: every item
  size_t next_item = 0;
  int64_t index0 = -1;
  int depth0 = 0;
  const For* recursive = nullptr;  // of a loop that its body may call
  std::shared_ptr<Scope> scope;    // around it, while a recursive loop runs
  int depth = 1;  // of the values inside, fixed when the loop starts
  std::optional<Value> previous;
  std::optional<Value> current;
  std::optional<Value> ahead;  // looked at, not yet entered
  std::optional<Value> last_changed;  // plain data, so that no loop holds itself

  // Enters the next iteration; false at the end.
  absl::StatusOr<bool> advance();
  // An attribute as a template sees it (index, first, previtem, ...); nothing if there is none such.
  absl::StatusOr<std::optional<Value>> attribute(std::string_view name);

 private:
  absl::StatusOr<std::optional<Value>> take();
  absl::StatusOr<bool> peek();
  absl::StatusOr<int64_t> length();
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LOOP_STATE_H_
