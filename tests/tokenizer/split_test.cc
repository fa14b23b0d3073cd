#include "coordinator/tokenizer/metaspace.h"
#include "coordinator/tokenizer/pre_tokenizer.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using Words = std::vector<std::string>;

Words words_of(const std::string& json, const std::string& text, size_t head_bytes = 0) {
  auto pre_tokenizer = pre_tokenizer_from_json(Json::parse(json), "pre_tokenizer");
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status();
  if (!pre_tokenizer.ok()) return {};
  PieceList list;
  list.text = text;
  list.pieces = {{0, text.size(), kNoToken}};
  list.head_bytes = head_bytes;
  list.limit = 1 << 20;
  (*pre_tokenizer)->apply(list);
  Words words;
  for (const Piece& piece : list.pieces) words.emplace_back(list.view(piece));
  return words;
}

Words split(const std::string& behavior, const std::string& text, bool invert = false) {
  return words_of(R"({"type": "Split", "pattern": {"String": "-"}, "behavior": ")" + behavior +
                      R"(", "invert": )" + (invert ? "true}" : "false}"),
                  text);
}

TEST(Split, EachBehaviourTreatsDelimitersAsDocumented) {
  const std::string text = "the-final--countdown";
  EXPECT_EQ(split("Removed", text), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(split("Isolated", text), (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithPrevious", text), (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split("MergedWithNext", text), (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split("Contiguous", text), (Words{"the", "-", "final", "--", "countdown"}));
}

TEST(Split, InvertSwapsWhatIsADelimiter) {
  EXPECT_EQ(split("Removed", "the-final--", true), (Words{"-", "-", "-"}));
}

TEST(Split, AnEmptyMatchCutsButLeavesNoPiece) {
  EXPECT_EQ(
      words_of(R"({"type": "Split", "pattern": {"Regex": "x*"}, "behavior": "Isolated"})", "axb"),
      (Words{"a", "x", "b"}));
}

TEST(Split, DigitsOneByOneOrInRunsIncludingOtherNumbers) {
  EXPECT_EQ(words_of(R"({"type": "Digits", "individual_digits": true})", "a12²b"),
            (Words{"a", "1", "2", "²", "b"}));
  EXPECT_EQ(words_of(R"({"type": "Digits", "individual_digits": false})", "a12Ⅷb"),
            (Words{"a", "12Ⅷ", "b"}));
}

TEST(Split, ByteLevelPrefixesSplitsAndMapsBytes) {
  EXPECT_EQ(words_of(R"({"type": "ByteLevel", "add_prefix_space": true})", "Hello wörld\n"),
            (Words{"ĠHello", "ĠwÃ¶rld", "Ċ"}));
  EXPECT_EQ(
      words_of(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})", "a b"),
      (Words{"aĠb"}));
}

TEST(Metaspace, MarksSpacesPrependsByTheSchemeAndCutsBeforeEachMark) {
  const auto json = [](const std::string& rest) {
    return R"({"type": "Metaspace", "replacement": "▁", )" + rest + "}";
  };
  EXPECT_EQ(words_of(json(R"("prepend_scheme": "always", "split": true)"), "ab  c"),
            (Words{"▁ab", "▁", "▁c"}));
  EXPECT_EQ(words_of(json(R"("prepend_scheme": "always", "split": false)"), " ab"), (Words{"▁ab"}));
  EXPECT_EQ(words_of(json(R"("prepend_scheme": "first", "split": false)"), "ab", 1),
            (Words{"▁ab"}));
  EXPECT_EQ(words_of(json(R"("prepend_scheme": "first", "split": false)"), "ab", 0), (Words{"ab"}));
  EXPECT_EQ(words_of(json(R"("prepend_scheme": "never", "split": false)"), "a b"), (Words{"a▁b"}));
}

TEST(Metaspace, TheOldFormMeansAlwaysOrNever) {
  EXPECT_EQ(
      words_of(R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true})", "ab"),
      (Words{"▁ab"}));
  EXPECT_EQ(
      words_of(R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": false})", "ab"),
      (Words{"ab"}));
}

}  // namespace
}  // namespace conclave::coordinator
