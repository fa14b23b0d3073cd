#ifndef CONCLAVE_COORDINATOR_TOKENIZER_NEWER_UNICODE_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_NEWER_UNICODE_H_

// Characters that Unicode 15 and 16 added. The libraries we build on may know Unicode 14 only,
// while the tokenizer that a model was trained with knew more: a recent emoji is a symbol there,
// not an unassigned code point. Source: UnicodeData.txt, Scripts.txt of Unicode 16.0.

#include <span>
#include <string>
#include <string_view>

namespace conclave::coordinator {

struct NewerCharacters {
  char32_t first;
  char32_t last;
  char category[3];  // general category: "Lu", "So", ..
};

// Ascending.
std::span<const NewerCharacters> newer_characters();

// The category of a newer character, "" for all others.
std::string_view newer_category(char32_t c);

// Items for a character class of a regular expression: the newer characters of a category ("L"
// takes in "Lu", "Ll", ..) or of the script Han. "" if there are none.
std::string newer_class_items(std::string_view category);
std::string newer_han_items();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_NEWER_UNICODE_H_
