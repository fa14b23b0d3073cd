#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_NUMBER_FORMAT_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_NUMBER_FORMAT_H_

// How Python lays numbers and texts out: what `%` and format() share.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

inline constexpr int kMaxFormatWidth = 10'000;
inline constexpr int kMaxFormatPrecision = 300;

struct FormatSpec {
  std::string fill = " ";
  char align = 0;  // < > ^ =; 0: the type's own
  char sign = 0;   // + or a blank; 0: of negative numbers alone
  bool alternate = false;
  bool no_negative_zero = false;
  char grouping = 0;  // , or _
  int width = 0;
  int precision = -1;
  char type = 0;
};

absl::Status bad_format(std::string_view what);
// text at its place in spec.width characters; align is what spec.align is if it has none.
std::string aligned(const std::string& text, const FormatSpec& spec, char align);
// The first spec.precision characters.
std::string cut(const std::string& text, int precision);
// Types b o d x X; at least `digits` digits.
std::string format_integer(int64_t value, const FormatSpec& spec, int digits = 0);
// Types e E f F g G % n, and 0 (as str() shows it, or to a precision).
std::string format_real(double value, const FormatSpec& spec);
// format(value, spec) of any value.
absl::StatusOr<std::string> format_value(Budget& budget, const Value& value, std::string_view spec);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_NUMBER_FORMAT_H_
