#ifndef CONCLAVE_COORDINATOR_OPENAI_STOP_MATCHER_H_
#define CONCLAVE_COORDINATOR_OPENAI_STOP_MATCHER_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::coordinator {

// Finds stop strings in text that arrives in pieces, and lets out only text that can no longer
// belong to one. The match that ends first wins, of those the longest: the answer does not depend
// on how the text was cut (Knuth-Morris-Pratt, one automaton a string). Not thread-safe.
class StopMatcher {
 public:
  // include_stop: the stop string is part of the output.
  StopMatcher(std::vector<std::string> stops, bool include_stop);

  // Appends to *out what is safe to show; true once a stop string is complete, and nothing comes
  // after. Whole characters in, whole characters out.
  bool push(std::string_view text, std::string* out);
  // As push for text in which stop strings do not count (min_tokens); a match cannot begin in it.
  void push_unarmed(std::string_view text, std::string* out);
  // The text ended: appends what was held back.
  void finish(std::string* out);
  bool empty() const { return patterns_.empty(); }

 private:
  struct Pattern {
    std::string text;
    std::vector<size_t> failure;  // [length + 1]
    size_t matched = 0;           // longest prefix that ends the text so far
  };
  static bool advance(Pattern& pattern, char c);

  std::vector<Pattern> patterns_;
  const bool include_stop_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_STOP_MATCHER_H_
