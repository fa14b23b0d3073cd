#ifndef CONCLAVE_COORDINATOR_TOKENIZER_REGEX_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_REGEX_H_

// Regular expressions of tokenizer files (Oniguruma syntax), matched with PCRE2.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin;
  size_t end;
};

// Immutable; any thread.
class Regex {
 public:
  // INVALID_ARGUMENT, a clause without the place ("the pattern ... is not valid: ..."), if it does
  // not compile or backtracks without bound on simple probes.
  static absl::StatusOr<std::shared_ptr<const Regex>> compile(std::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Appends the non-overlapping matches from left to right; an empty match directly behind another
  // match does not count. Text must be valid UTF-8. Where matching would exceed the limit of
  // backtracking steps, the rest of the text has no match and the result is false.
  bool find_all(std::string_view text, std::vector<TextRange>& matches) const;

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_REGEX_H_
