#include "coordinator/chat_template/comparison.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator::jinja {
namespace {

const char* symbol(Ordering ordering) {
  switch (ordering) {
    case Ordering::kLess:
      return "<";
    case Ordering::kLessEqual:
      return "<=";
    case Ordering::kGreater:
      return ">";
    case Ordering::kGreaterEqual:
      return ">=";
  }
  return "<";
}

template <typename T>
bool apply(Ordering ordering, const T& a, const T& b) {
  switch (ordering) {
    case Ordering::kLess:
      return a < b;
    case Ordering::kLessEqual:
      return a <= b;
    case Ordering::kGreater:
      return a > b;
    case Ordering::kGreaterEqual:
      return a >= b;
  }
  return false;
}

bool numbers_ordered(Ordering ordering, const Value& a, const Value& b) {
  const std::partial_ordering order = compare_numbers(a, b);
  switch (ordering) {
    case Ordering::kLess:
      return order < 0;
    case Ordering::kLessEqual:
      return order <= 0;
    case Ordering::kGreater:
      return order > 0;
    case Ordering::kGreaterEqual:
      return order >= 0;
  }
  return false;
}

bool comparable_kinds(SequenceKind a, SequenceKind b) {
  return a == b && a != SequenceKind::kValues && a != SequenceKind::kIterator;
}

absl::StatusOr<bool> dicts_equal(Budget& budget, const Dict& a, const Dict& b) {
  if (a.items().size() != b.items().size()) return false;
  for (const auto& [key, value] : a.items()) {
    const Value* other = b.find(key);
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool same, equals(budget, value, *other));
    if (!same) return false;
  }
  return true;
}

absl::StatusOr<bool> sequences_equal(Budget& budget, const Sequence& a, const Sequence& b) {
  if (!comparable_kinds(a.kind, b.kind) || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, equals(budget, a.items[i], b.items[i]));
    if (!same) return false;
  }
  return true;
}

// Python compares sequences at their first difference, else by length.
absl::StatusOr<bool> sequences_ordered(Budget& budget, Ordering ordering, const Sequence& a,
                                       const Sequence& b) {
  const size_t common = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < common; ++i) {
    ASSIGN_OR_RETURN(const bool same, equals(budget, a.items[i], b.items[i]));
    if (!same) return ordered(budget, ordering, a.items[i], b.items[i]);
  }
  return apply(ordering, a.items.size(), b.items.size());
}

absl::Status not_ordered(Ordering ordering, const Value& a, const Value& b) {
  if (a.is_undefined()) return absl::InvalidArgumentError(a.undefined_message());
  if (b.is_undefined()) return absl::InvalidArgumentError(b.undefined_message());
  return absl::InvalidArgumentError(absl::StrCat("'", symbol(ordering),
                                                 "' not supported between instances of '",
                                                 a.type_name(), "' and '", b.type_name(), "'"));
}

}  // namespace

absl::StatusOr<bool> equals(Budget& budget, const Value& a, const Value& b) {
  RETURN_IF_ERROR(budget.charge_steps(1));
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.is_string() && b.is_string()) {
    RETURN_IF_ERROR(budget.charge_steps(a.text().size() / 256));
    return a.text() == b.text();
  }
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.same_as(b)) return true;
  const Dict* dict = a.as_dict();
  if (dict != nullptr && b.as_dict() != nullptr) return dicts_equal(budget, *dict, *b.as_dict());
  const Sequence* sequence = a.as_sequence();
  if (sequence != nullptr && b.as_sequence() != nullptr) {
    return sequences_equal(budget, *sequence, *b.as_sequence());
  }
  return false;
}

absl::StatusOr<bool> ordered(Budget& budget, Ordering ordering, const Value& a, const Value& b) {
  RETURN_IF_ERROR(budget.charge_steps(1));
  if (a.is_number() && b.is_number()) return numbers_ordered(ordering, a, b);
  if (a.is_string() && b.is_string()) return apply(ordering, a.text(), b.text());
  const Sequence* left = a.as_sequence();
  const Sequence* right = b.as_sequence();
  if (left != nullptr && right != nullptr && left->kind == right->kind &&
      (left->kind == SequenceKind::kList || left->kind == SequenceKind::kTuple)) {
    return sequences_ordered(budget, ordering, *left, *right);
  }
  return not_ordered(ordering, a, b);
}

absl::Status check_hashable(const Value& value) {
  const Value* culprit = value.unhashable();
  if (culprit == nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("unhashable type: '", culprit->type_name(), "'"));
}

absl::StatusOr<bool> contains(Budget& budget, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'in <string>' requires string as left operand, not ", item.type_name()));
    }
    RETURN_IF_ERROR(budget.charge_search(container.text().size(), item.text().size()));
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is_undefined()) return false;
  if (const Dict* dict = container.as_dict()) {
    RETURN_IF_ERROR(check_hashable(item));
    return dict->find(item) != nullptr;
  }
  const Sequence* sequence = container.as_sequence();
  if (sequence == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("argument of type '", container.type_name(), "' is not iterable"));
  }
  if (sequence->kind == SequenceKind::kIterator) {
    RETURN_IF_ERROR(sequence->failure);
  }
  for (const Value& candidate : sequence->items) {
    ASSIGN_OR_RETURN(const bool same, equals(budget, candidate, item));
    if (same) return true;
  }
  return false;
}

absl::StatusOr<std::vector<Value>> sort_by_key(Budget& budget, std::vector<Value> items,
                                               const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<size_t> merged(order.size());
  // Bottom-up merge sort: comparisons can fail, which std::sort has no way to say.
  for (size_t width = 1; width < order.size(); width *= 2) {
    for (size_t start = 0; start < order.size(); start += 2 * width) {
      const size_t middle = std::min(start + width, order.size());
      const size_t end = std::min(start + 2 * width, order.size());
      size_t left = start;
      size_t right = middle;
      for (size_t out = start; out < end; ++out) {
        bool take_right = left == middle;
        if (!take_right && right < end) {
          const Value& a = keys[order[reverse ? left : right]];
          const Value& b = keys[order[reverse ? right : left]];
          ASSIGN_OR_RETURN(take_right, ordered(budget, Ordering::kLess, a, b));
        }
        merged[out] = take_right ? order[right++] : order[left++];
      }
    }
    order.swap(merged);
  }
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (size_t index : order) sorted.push_back(std::move(items[index]));
  return sorted;
}

}  // namespace conclave::coordinator::jinja
