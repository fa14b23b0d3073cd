#ifndef CONCLAVE_COORDINATOR_TOKENIZER_PATTERN_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_PATTERN_H_

// The {"String": ..} | {"Regex": ..} of Replace and Split: cuts a text into matches and what lies
// between them.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/regex.h"

namespace conclave::coordinator {

struct Stretch {
  TextRange range;
  bool is_match;
};

// No step may make a text longer than this, so that a hostile file cannot exhaust memory by chains
// of replacements: 256 KiB and 32 times the input.
inline size_t grown_text_limit(size_t input_bytes) { return (size_t{1} << 18) + 32 * input_bytes; }

// Immutable, cheap to copy; any thread.
class Pattern {
 public:
  static absl::StatusOr<Pattern> from_json(const Json& json, const std::string& where);
  static absl::StatusOr<Pattern> from_regex(std::string_view regex, const std::string& where);
  static Pattern from_literal(std::string literal);

  // Matches (possibly empty ones) and the non-empty stretches between them, in order; together they
  // are the text. An empty text is one stretch without a match.
  void cut(std::string_view text, std::vector<Stretch>& stretches) const;

  // The text with every match replaced. Matches stay where the result would exceed limit bytes.
  std::string replace_all(std::string_view text, std::string_view content, size_t limit) const;

  bool is_literal() const { return regex_ == nullptr; }
  const std::string& literal() const { return literal_; }

 private:
  void find_literal(std::string_view text, std::vector<TextRange>& matches) const;

  std::string literal_;
  std::shared_ptr<const Regex> regex_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_PATTERN_H_
