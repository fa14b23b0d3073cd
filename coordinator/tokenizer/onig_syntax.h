#ifndef CONCLAVE_COORDINATOR_TOKENIZER_ONIG_SYNTAX_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_ONIG_SYNTAX_H_

// tokenizer.json holds regular expressions in Oniguruma's syntax; we match with PCRE2. Most of the
// two languages is common; this rewrites what reads differently:
//   \s \w \h \v and their negations (as Unicode properties), \b, \uHHHH, \O, \Q, \E, \p{Script},
//   (?m: (which is PCRE2's (?s:), {,n}, {n,m}+ (a repeat of a repeat there, possessive in PCRE2),
//   nested classes and class intersections ([a-z&&[^b]]).
// Background: the syntax page of Oniguruma 6.9 ("RE") and pcre2pattern(3).

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// pattern is valid UTF-8. INVALID_ARGUMENT for an unclosed or too deeply nested character class.
absl::StatusOr<std::string> pcre2_from_onig(std::string_view pattern);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_ONIG_SYNTAX_H_
