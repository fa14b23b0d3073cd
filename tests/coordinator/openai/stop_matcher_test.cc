#include "coordinator/openai/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace conclave::coordinator {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// Plain search: the match that ends first; of those, the longest.
Outcome reference(const std::string& text, const std::vector<std::string>& stops, bool include) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest != 0) return {text.substr(0, include ? end : end - longest), true};
  }
  return {text, false};
}

// The longest end of `text` that begins a stop string: the least that must be held back.
size_t longest_possible_begin(const std::string& text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t length = 1; length < stop.size() && length <= text.size(); ++length) {
      if (text.compare(text.size() - length, length, stop, 0, length) == 0)
        longest = std::max(longest, length);
    }
  }
  return longest;
}

std::string random_text(std::mt19937& random, size_t length) {
  std::string text(length, 'a');
  for (char& c : text) c = "aab"[random() % 3];
  return text;
}

TEST(StopMatcher, EqualsPlainSearchHoweverTheTextIsCut) {
  std::mt19937 random(11);
  int stopped_count = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string& stop : stops) stop = random_text(random, 1 + random() % 6);
    const std::string text = random_text(random, random() % 24);
    const bool include = random() % 2 == 0;
    StopMatcher matcher(stops, include);
    Outcome outcome;
    std::string fed;
    while (fed.size() < text.size() && !outcome.stopped) {
      const std::string piece = text.substr(fed.size(), 1 + random() % 5);
      fed += piece;
      outcome.stopped = matcher.push(piece, &outcome.text);
      if (!outcome.stopped) {
        // Never shows what may begin a stop string, and holds back nothing else.
        ASSERT_EQ(outcome.text.size(), fed.size() - longest_possible_begin(fed, stops));
      }
    }
    if (!outcome.stopped) matcher.finish(&outcome.text);
    stopped_count += outcome.stopped ? 1 : 0;
    ASSERT_EQ(outcome, reference(text, stops, include)) << text;
  }
  EXPECT_GT(stopped_count, 5000);
}

TEST(StopMatcher, CharactersAreNeverSplit) {
  StopMatcher matcher({"é!", "漢字"}, false);
  std::string out;
  EXPECT_FALSE(matcher.push("aé", &out));
  EXPECT_EQ(out, "a");
  EXPECT_FALSE(matcher.push("漢", &out));
  EXPECT_EQ(out, "aé");
  EXPECT_FALSE(matcher.push("x", &out));
  EXPECT_EQ(out, "aé漢x");
}

TEST(StopMatcher, UnarmedTextNeitherStopsNorBeginsAStop) {
  StopMatcher matcher({"ab"}, false);
  std::string out;
  matcher.push_unarmed("ab a", &out);
  EXPECT_EQ(out, "ab a");
  EXPECT_FALSE(matcher.push("b", &out));
  EXPECT_TRUE(matcher.push("ab", &out));
  EXPECT_EQ(out, "ab ab");
}

}  // namespace
}  // namespace conclave::coordinator
