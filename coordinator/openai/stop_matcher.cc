#include "coordinator/openai/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace conclave::coordinator {
namespace {

// failure[i]: length of the longest proper border of the first i bytes.
std::vector<size_t> failure_of(std::string_view text) {
  std::vector<size_t> failure(text.size() + 1, 0);
  for (size_t i = 1; i < text.size(); ++i) {
    size_t border = failure[i];
    while (border > 0 && text[border] != text[i]) border = failure[border];
    failure[i + 1] = text[border] == text[i] ? border + 1 : 0;
  }
  return failure;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_stop)
    : include_stop_(include_stop) {
  for (std::string& stop : stops) {
    if (stop.empty()) continue;
    std::vector<size_t> failure = failure_of(stop);
    patterns_.push_back({std::move(stop), std::move(failure), 0});
  }
}

bool StopMatcher::advance(Pattern& pattern, char c) {
  while (pattern.matched > 0 && pattern.text[pattern.matched] != c)
    pattern.matched = pattern.failure[pattern.matched];
  if (pattern.text[pattern.matched] == c) ++pattern.matched;
  return pattern.matched == pattern.text.size();
}

bool StopMatcher::push(std::string_view text, std::string* out) {
  if (stopped_) return true;
  if (patterns_.empty()) {
    out->append(text);
    return false;
  }
  for (const char c : text) {
    held_.push_back(c);
    size_t longest = 0;
    for (Pattern& pattern : patterns_) {
      if (advance(pattern, c)) longest = std::max(longest, pattern.text.size());
    }
    if (longest == 0) continue;
    stopped_ = true;
    out->append(held_, 0, include_stop_ ? held_.size() : held_.size() - longest);
    held_.clear();
    return true;
  }
  size_t keep = 0;
  for (const Pattern& pattern : patterns_) keep = std::max(keep, pattern.matched);
  out->append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return false;
}

void StopMatcher::push_unarmed(std::string_view text, std::string* out) {
  if (stopped_) return;
  finish(out);
  out->append(text);
  for (Pattern& pattern : patterns_) pattern.matched = 0;
}

void StopMatcher::finish(std::string* out) {
  out->append(held_);
  held_.clear();
}

}  // namespace conclave::coordinator
