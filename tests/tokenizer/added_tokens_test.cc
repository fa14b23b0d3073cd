#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

// Ids: a 0, b 1, c 2, space 3, the added token(s) from 4.
std::shared_ptr<const Tokenizer> with_added(const std::string& added,
                                            const std::string& rest = "") {
  return character_tokenizer("abc ", R"({"added_tokens": [)" + added + "]" + rest + "}");
}

std::string token(const std::string& content, const std::string& flags) {
  return R"({"id": 4, "content": ")" + content + R"(", "normalized": false, "special": true)" +
         flags + "}";
}

TEST(AddedTokens, TheLongestAtTheLeftmostPlaceWins) {
  const auto tokenizer =
      with_added(token("<a>", "") + "," + token("<a>b", "") + "," + token("b", ""));
  EXPECT_EQ(tokenizer->encode("<a>bb<a>c", true), (Ids{5, 1, 4, 2}));
}

TEST(AddedTokens, SingleWordWantsNoWordCharacterBeside) {
  const auto tokenizer = with_added(token("ab", R"(, "single_word": true)"));
  EXPECT_EQ(tokenizer->encode("ab", true), (Ids{4}));
  EXPECT_EQ(tokenizer->encode("c ab", true), (Ids{2, 3, 4}));
  EXPECT_EQ(tokenizer->encode("cab", true), (Ids{2, 0, 1}));
  EXPECT_EQ(tokenizer->encode("abc", true), (Ids{0, 1, 2}));
}

TEST(AddedTokens, StrippingSwallowsWhiteSpaceOnItsSide) {
  EXPECT_EQ(with_added(token("<x>", R"(, "lstrip": true)"))->encode("a  <x> b", true),
            (Ids{0, 4, 3, 1}));
  EXPECT_EQ(with_added(token("<x>", R"(, "rstrip": true)"))->encode("a <x>  b", true),
            (Ids{0, 3, 4, 1}));
}

TEST(AddedTokens, ANormalizedTokenIsFoundInNormalisedTextOnly) {
  const std::string lower = R"(, "normalizer": {"type": "Lowercase"})";
  const std::string normalized =
      R"({"id": 4, "content": "AB", "normalized": true, "special": false})";
  EXPECT_EQ(with_added(normalized, lower)->encode("cAb", true), (Ids{2, 4}));
  EXPECT_EQ(with_added(token("AB", ""), lower)->encode("cAbAB", true), (Ids{2, 0, 1, 4}));
}

TEST(AddedTokens, AStringOfTheVocabularyKeepsItsId) {
  const auto tokenizer = with_added(token("b", ""));
  EXPECT_EQ(tokenizer->encode("ab", true), (Ids{0, 1}));
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_EQ(tokenizer->decode(Ids{0, 1, 2}, true), "a c");
  EXPECT_EQ(tokenizer->vocab_size(), 4);
}

TEST(AddedTokens, SpecialOnesAreSkippedOnRequestAndOthersAreNot) {
  const auto tokenizer = with_added(
      token("<x>", "") + R"(, {"id": 5, "content": "<y>", "normalized": false, "special": false})",
      R"(, "decoder": {"type": "Fuse"})");
  const Ids ids = tokenizer->encode("a<x><y>b", true);
  EXPECT_EQ(tokenizer->decode(ids, false), "a<x><y>b");
  EXPECT_EQ(tokenizer->decode(ids, true), "a<y>b");
}

}  // namespace
}  // namespace conclave::coordinator
