#include "coordinator/tokenizer/regex.h"

#include "coordinator/tokenizer/onig_syntax.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using Found = std::vector<std::string>;

Found find(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  if (!regex.ok()) return {};
  std::vector<TextRange> matches;
  EXPECT_TRUE((*regex)->find_all(text, matches));
  Found found;
  for (const TextRange& m : matches) found.emplace_back(text.substr(m.begin, m.end - m.begin));
  return found;
}

TEST(Regex, MatchesLikeOnigurumaWhereTheLanguagesDiffer) {
  EXPECT_EQ(find(R"(\h+)", "xyz 1fG"), (Found{"1f"}));
  EXPECT_EQ(find(R"(\p{N}{1,3}+)", "12345"), (Found{"12345"}));
  EXPECT_EQ(find(R"((?m:a.b))", "a\nb"), (Found{"a\nb"}));
  EXPECT_EQ(find(R"(a.b)", "a\nb"), (Found{}));
  EXPECT_EQ(find(R"([a-e&&[^bc]]+)", "abcde"), (Found{"a", "de"}));
  EXPECT_EQ(find(R"([^a-e&&[^bc]]+)", "abcdez"), (Found{"bc", "z"}));
  EXPECT_EQ(find(R"([x[0-9]]+)", "ax12b"), (Found{"x12"}));
  EXPECT_EQ(find(R"([\p{L}&&[^\p{Han}]]+|\p{Han}+)", "ab漢字"), (Found{"ab", "漢字"}));
  EXPECT_EQ(find(R"(\u0061{,2})", "b"), (Found{"", ""}));
  EXPECT_EQ(find(R"(\v)", "\x0b\n"), (Found{"\x0b"}));
  EXPECT_EQ(find(R"(^b$)", "a\nb\nc"), (Found{"b"}));
}

TEST(Regex, WhiteSpaceIsUnicodesAndNotTheMongolianVowelSeparator) {
  EXPECT_EQ(find(R"(\s)", "a\u0085b\u2028c\u3000d\u180e\u200b\ufeff\x1c"),
            (Found{"\u0085", "\u2028", "\u3000"}));
  EXPECT_EQ(find(R"([^\S ])", " \t"), (Found{"\t"}));
  EXPECT_EQ(find(R"(\s+(?!\S)|\s+)", "a   b"), (Found{"  ", " "}));
}

TEST(Regex, KnowsCharactersNewerThanTheLibrary) {
  EXPECT_EQ(find(R"([\p{P}\p{S}]+)", "a\U0001FAE8b"), (Found{"\U0001FAE8"}));  // Unicode 15
  EXPECT_EQ(find(R"(\p{L}+)", "\U000105C0"), (Found{"\U000105C0"}));           // Unicode 16
}

TEST(Regex, CaseInsensitivityTakesInTheLongS) {
  EXPECT_EQ(find(R"((?i:'s))", "'S'ſ"), (Found{"'S", "'ſ"}));
}

TEST(Regex, AnEmptyMatchBehindAMatchDoesNotCount) {
  EXPECT_EQ(find("x*", "axb"), (Found{"", "x", ""}));
}

TEST(Regex, RefusesWhatDoesNotCompileWithOneSentence) {
  for (const char* pattern :
       {"(", "[a", "a{2,1}", R"(\p{Nonsense})", "(?<n>a)(?<n>b)(?P>x)", "\\"}) {
    const auto regex = Regex::compile(pattern);
    ASSERT_FALSE(regex.ok()) << pattern;
    EXPECT_THAT(std::string(regex.status().message()), testing::HasSubstr("the pattern \""));
  }
}

TEST(Regex, RefusesAPatternThatBacktracksWithoutBound) {
  const auto regex = Regex::compile("(a+)+$");
  ASSERT_FALSE(regex.ok());
  EXPECT_THAT(std::string(regex.status().message()),
              testing::HasSubstr("backtracks without bound"));
}

TEST(Regex, MatchingThatExceedsTheLimitEndsAndSaysSo) {
  const auto regex = Regex::compile("(q+)+$");  // harmless on the probes
  ASSERT_TRUE(regex.ok()) << regex.status();
  std::vector<TextRange> matches;
  EXPECT_FALSE((*regex)->find_all(std::string(64, 'q') + "!", matches));
  EXPECT_TRUE(matches.empty());
}

TEST(OnigSyntax, RefusesDeepNesting) {
  EXPECT_FALSE(pcre2_from_onig(std::string(5000, '[')).ok());
  EXPECT_FALSE(Regex::compile(std::string(5000, '(')).ok());
}

}  // namespace
}  // namespace conclave::coordinator
