#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_UNICODE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_UNICODE_H_

// Python's view of text (a sequence of code points) over UTF-8 strings. Malformed bytes count as one
// code point each, so that no function here can fail or read past the end. Stateless; any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::coordinator::jinja {

struct DecodedRune {
  char32_t code_point;  // a malformed byte decodes to itself
  size_t bytes;         // at least 1
};

// text must not be empty.
DecodedRune decode_rune(std::string_view text);
void append_rune(std::string& out, char32_t code_point);
bool is_valid_utf8(std::string_view text);

size_t rune_count(std::string_view text);
// Byte offsets of every code point and, last, of the end.
std::vector<size_t> rune_offsets(std::string_view text);

// str.isspace() of one character, which is also what \s matches in Python.
bool is_space(char32_t code_point);
bool is_line_break(char32_t code_point);
bool is_printable(char32_t code_point);
bool is_alpha(char32_t code_point);
bool is_decimal(char32_t code_point);  // str.isdecimal(); each of the next two holds more
bool is_digit(char32_t code_point);
bool is_numeric(char32_t code_point);
bool is_alnum(char32_t code_point);
bool is_word(char32_t code_point);  // of a name in a template
bool is_upper(char32_t code_point);
bool is_lower(char32_t code_point);
bool is_title(char32_t code_point);
bool is_identifier_start(char32_t code_point);
bool is_identifier_part(char32_t code_point);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);  // with the final sigma
std::string fold_case(std::string_view text);
// Of one character.
std::string title_of(char32_t code_point);

// strip(): whitespace if chars is null, else any of the code points in *chars.
enum class StripSide { kLeft, kRight, kBoth };
std::string_view strip(std::string_view text, StripSide side, const std::string* chars = nullptr);

// str.splitlines(): line breaks are \n, \r, \r\n and Unicode's.
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_UNICODE_H_
