#ifndef CONCLAVE_COORDINATOR_TOKENIZER_ONIG_PROPERTIES_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_ONIG_PROPERTIES_H_

// Oniguruma's named sets of characters, each as items of a PCRE2 character class.

#include <optional>
#include <string>
#include <string_view>

namespace conclave::coordinator {

// What [[:word:]] means, and \w inside a class.
std::string posix_word_items();
// What \w means alone: also six characters of Latin-1 (superscript digits and fractions).
std::string word_items();

// A class of POSIX that means the same in [: :] and in \p{ }; nullopt for the others.
std::optional<std::string> posix_class_items(std::string_view name);

// A name in \p{ }: a property, or else a script. A name that nobody knows makes a pattern that
// PCRE2 refuses.
std::string property_items(std::string_view name);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_ONIG_PROPERTIES_H_
