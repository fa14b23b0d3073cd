#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SUBSCRIPT_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SUBSCRIPT_H_

// How templates reach into values: iteration, value.name, value[key], value[start:stop:step]. A name or
// key that Python would answer with a TypeError or LookupError gives Undefined, as in Jinja; a slice of
// what has none is an error, also as in Jinja.

#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

// The elements that a for loop would see (a dict's keys, a text's characters); an iterator is used up.
// INVALID_ARGUMENT if the value is not iterable.
absl::StatusOr<std::vector<Value>> elements_of(Budget& budget, const Value& value);
bool is_iterable(const Value& value);
// len(); nothing if the value has none.
std::optional<int64_t> length_of(const Value& value);

// value.name: methods first, then items. INVALID_ARGUMENT on an undefined value.
absl::StatusOr<Value> get_attribute(const Value& value, std::string_view name);
// value[key]: items first, then methods.
absl::StatusOr<Value> get_item(Budget& budget, const Value& value, const Value& key);

// Notes what range(start, stop, step) is made of.
void describe_range(Sequence& range, int64_t start, int64_t stop, int64_t step);

struct SliceBounds {
  std::optional<int64_t> start;
  std::optional<int64_t> stop;
  std::optional<int64_t> step;
};
absl::StatusOr<Value> get_slice(Budget& budget, const Value& value, const SliceBounds& bounds);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SUBSCRIPT_H_
