#include <array>
#include <ctime>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/evaluator.h"
#include "coordinator/chat_template/subscript.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr std::array<std::string_view, 8> kFunctions = {
    "cycler", "dict", "joiner", "lipsum", "namespace", "raise_exception", "range", "strftime_now"};
constexpr uint64_t kMaxRange = 100'000;  // as in Jinja's sandbox
constexpr size_t kMaxTimeBytes = 4096;

uint64_t range_length(int64_t start, int64_t stop, int64_t step) {
  const bool empty = step > 0 ? start >= stop : start <= stop;
  if (empty) return 0;
  const uint64_t distance = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                     : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  return (distance - 1) / stride + 1;
}

// Python's datetime has microseconds, and no zone unless it is given one.
std::string pythons_time_format(std::string_view format, int64_t microseconds) {
  std::string out;
  for (size_t at = 0; at < format.size(); ++at) {
    const char next = format[at] == '%' && at + 1 < format.size() ? format[at + 1] : '\0';
    if (next == 'f') {
      const std::string digits = absl::StrCat(microseconds);
      out += std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
    } else if (next != 'z' && next != 'Z') {
      out += format[at];
      if (next != 0) out += next;
    }
    at += next != 0 ? 1 : 0;
  }
  return out;
}

}  // namespace

bool is_global_function(std::string_view name) {
  for (std::string_view function : kFunctions) {
    if (function == name) return true;
  }
  return false;
}

std::vector<std::string_view> global_function_names() {
  return {kFunctions.begin(), kFunctions.end()};
}

absl::Status check_namespace_name(std::string_view name) {
  if (!name.starts_with('_')) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '",
      std::string(name), "'."));
}

absl::StatusOr<Value> call_range(Budget& budget, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("range", arguments, {"", "", ""}, 1));
  for (const Value& argument : arguments.positional) {
    if (argument.integral()) continue;
    if (argument.is_undefined()) {
      return absl::InvalidArgumentError(argument.undefined_message());
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "'", argument.type_name(), "' object cannot be interpreted as an integer"));
  }
  ASSIGN_OR_RETURN(int64_t start, bound.integer(0, 0));
  ASSIGN_OR_RETURN(int64_t stop, bound.integer(1, 0));
  ASSIGN_OR_RETURN(const int64_t step, bound.integer(2, 1));
  if (bound.get(1) == nullptr) stop = std::exchange(start, 0);
  if (step == 0) return absl::InvalidArgumentError("range() arg 3 must not be zero");
  const uint64_t length = range_length(start, stop, step);
  if (length > kMaxRange) {
    return absl::InvalidArgumentError(
        absl::StrCat("Range too big. Ranges larger than ", kMaxRange, " are refused."));
  }
  RETURN_IF_ERROR(budget.charge_bytes(length * sizeof(Value)));
  std::vector<Value> items;
  items.reserve(length);
  for (uint64_t i = 0; i < length; ++i) {
    items.push_back(Value::integer(start + static_cast<int64_t>(i) * step));
  }
  ASSIGN_OR_RETURN(Value range, make_sequence(SequenceKind::kRange, std::move(items)));
  describe_range(*range.as_sequence(), start, stop, step);
  return range;
}

absl::StatusOr<Value> call_dict(Budget& budget, const Arguments& arguments) {
  if (arguments.positional.size() > 1) {
    return absl::InvalidArgumentError("dict() takes at most one positional argument");
  }
  auto dict = std::make_shared<Dict>();
  for (const Value& source : arguments.positional) {
    if (source.is_undefined()) return absl::InvalidArgumentError(source.undefined_message());
    if (const Dict* mapping = source.as_dict()) {
      for (const auto& [key, value] : mapping->items()) RETURN_IF_ERROR(dict->insert(key, value));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<Value> pairs, elements_of(budget, source));
    for (const Value& pair : pairs) {
      ASSIGN_OR_RETURN(const std::vector<Value> parts, elements_of(budget, pair));
      if (parts.size() != 2) {
        return absl::InvalidArgumentError("dict() takes pairs of a key and a value");
      }
      RETURN_IF_ERROR(dict->insert(parts[0], parts[1]));
    }
  }
  for (const auto& [name, value] : arguments.named) {
    RETURN_IF_ERROR(dict->insert(Value::string(name), value));
  }
  RETURN_IF_ERROR(budget.charge_bytes(dict->items().size() * 4 * sizeof(Value)));
  return Value::of(std::shared_ptr<const Dict>(std::move(dict)));
}

absl::StatusOr<Value> call_strftime_now(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("strftime_now", arguments, {"format"}, 1));
  ASSIGN_OR_RETURN(const std::optional<std::string> format, bound.text(0));
  if (!format || format->size() > kMaxTimeBytes) {
    return absl::InvalidArgumentError("strftime_now() takes a short format string");
  }
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm local{};
  localtime_r(&now.tv_sec, &local);
  // The leading blank tells an empty result from a buffer that is too small.
  const std::string padded = " " + pythons_time_format(*format, now.tv_nsec / 1000);
  std::string out(kMaxTimeBytes * 2, '\0');
  const size_t written = std::strftime(out.data(), out.size(), padded.c_str(), &local);
  if (written == 0) return absl::InvalidArgumentError("strftime_now(): the result is too long");
  return Value::string(out.substr(1, written - 1));
}

}  // namespace conclave::coordinator::jinja
