#ifndef CONCLAVE_COORDINATOR_HTTP_JSON_TEXT_H_
#define CONCLAVE_COORDINATOR_HTTP_JSON_TEXT_H_

// Appends JSON tokens to a string. Answers are written by hand with these, since a document tree
// for every streamed token would cost more than the rest of the coordinator together.

#include <cstdint>
#include <string>
#include <string_view>

namespace conclave::coordinator {

// Quoted and escaped; bytes that are not UTF-8 become U+FFFD, so that the output is always valid
// JSON.
void append_json_string(std::string* out, std::string_view text);
void append_json_int(std::string* out, int64_t value);
// Shortest text that reads back as the same float, always with a fraction or exponent; JSON has no
// infinities, so anything below -9999 (or NaN) is written as -9999.0.
void append_json_logprob(std::string* out, float value);
void append_json_double(std::string* out, double value);
std::string json_string(std::string_view text);

// Length in bytes of the valid UTF-8 character that begins text, 0 if there is none.
size_t utf8_character_bytes(std::string_view text);
// text with each byte that belongs to no character replaced by U+FFFD.
std::string valid_utf8(std::string_view text);
// Number of code points in valid UTF-8.
int64_t count_code_points(std::string_view text);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_JSON_TEXT_H_
