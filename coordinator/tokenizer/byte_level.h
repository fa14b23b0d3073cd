#ifndef CONCLAVE_COORDINATOR_TOKENIZER_BYTE_LEVEL_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_BYTE_LEVEL_H_

// GPT-2's byte-level alphabet: every byte is one printable character, so that any text is a string
// over 256 symbols. Bytes 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF stand for themselves; the other 68, in
// ascending order, are U+0100 and onwards (space is U+0120, line feed U+010A).
// Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.2.

#include <optional>
#include <string>
#include <string_view>

namespace conclave::coordinator {

// Appends each byte's character.
void append_byte_chars(std::string_view bytes, std::string& out);

// The byte of a character of the alphabet.
std::optional<unsigned char> byte_of_char(char32_t c);

// Appends a token's bytes: the mapped ones if every character is of the alphabet, else its UTF-8.
void append_token_bytes(std::string_view token, std::string& out);

// How GPT-2 cuts a text into words.
inline constexpr std::string_view kGpt2WordPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_BYTE_LEVEL_H_
