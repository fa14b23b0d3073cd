#ifndef CONCLAVE_COORDINATOR_TOKENIZER_UNICODE_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_UNICODE_H_

// UTF-8 and the Unicode properties that tokenizers use. Pure functions. "Text" is valid UTF-8,
// which make_valid_utf8() establishes once at the border.

#include <cstddef>
#include <string>
#include <string_view>

namespace conclave::coordinator {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

inline bool is_continuation_byte(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Reads the character at text[at] and moves `at` behind it; at < text.size().
char32_t next_char(std::string_view text, size_t& at);
// Bytes of the character that starts with this byte.
size_t char_bytes(char first_byte);
void append_char(char32_t c, std::string& out);

// How bytes begin: `length` bytes that are a character (complete), or a maximal wrong sequence to
// be replaced by one U+FFFD, or the beginning of a character that ends early (cut). bytes is not
// empty.
struct Utf8Prefix {
  enum class Kind { kCharacter, kInvalid, kCut } kind;
  size_t length;
};
Utf8Prefix classify_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes);
// Each maximal wrong sequence becomes one U+FFFD (the Unicode standard's recommended practice).
std::string make_valid_utf8(std::string_view bytes);

// White_Space; general category N*; what a regular expression's \w matches; P* or ASCII
// punctuation; M*.
bool is_whitespace(char32_t c);
bool is_numeric(char32_t c);
bool is_word_char(char32_t c);
bool is_punctuation(char32_t c);
bool is_mark(char32_t c);

// Full lower-case mapping of one character, without context.
void append_lowercase(char32_t c, std::string& out);

enum class NormalizationForm { kNfc, kNfd, kNfkc, kNfkd };
// Linear but for sorting runs of combining marks. Text of any length.
std::string unicode_normalize(std::string_view text, NormalizationForm form);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_UNICODE_H_
