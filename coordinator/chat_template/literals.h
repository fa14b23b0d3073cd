#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LITERALS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LITERALS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::coordinator::jinja {

// Bytes of the float or integer literal at the start of text (1_000, 0x1f, 1.5e3); 0 if none.
size_t float_literal_length(std::string_view text);
size_t integer_literal_length(std::string_view text);
// INVALID_ARGUMENT if it does not fit int64.
absl::StatusOr<int64_t> parse_integer_literal(std::string_view literal);
double parse_float_literal(std::string_view literal);

// Bytes of the quoted string at the start of text, quotes included; 0 if none or unterminated.
size_t string_literal_length(std::string_view text);
// Python's escapes, of the text between the quotes. Unknown escapes stay as they are.
absl::StatusOr<std::string> unescape_string(std::string_view body);

// Python's int(text, base) and float(text): surrounding whitespace, sign and underscores allowed.
// Nothing if the text is no such number; beyond: set if it is one that does not fit int64.
std::optional<int64_t> parse_python_int(std::string_view text, int base, bool* beyond = nullptr);
std::optional<double> parse_python_float(std::string_view text);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LITERALS_H_
