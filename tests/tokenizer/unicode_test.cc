#include "coordinator/tokenizer/unicode.h"

#include "coordinator/tokenizer/byte_level.h"
#include "coordinator/tokenizer/newer_unicode.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using Form = NormalizationForm;

TEST(Unicode, EveryCharacterSurvivesWritingAndReading) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_char(c, text);
    ASSERT_TRUE(is_valid_utf8(text)) << static_cast<uint32_t>(c);
    ASSERT_EQ(text.size(), char_bytes(text[0]));
    size_t at = 0;
    ASSERT_EQ(next_char(text, at), c);
    ASSERT_EQ(at, text.size());
  }
}

TEST(Unicode, EachMaximalWrongSequenceIsReplacedOnce) {
  EXPECT_EQ(make_valid_utf8("a\xF0\x9F\x99z"), "a\uFFFDz");          // a character cut short
  EXPECT_EQ(make_valid_utf8("\xC0\xAF"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(make_valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(make_valid_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  EXPECT_EQ(make_valid_utf8("\xE2\x82"), "\uFFFD");
  EXPECT_EQ(make_valid_utf8("é€🙂"), "é€🙂");
}

TEST(Unicode, NormalizationForms) {
  EXPECT_EQ(unicode_normalize("e\u0301", Form::kNfc), "\u00e9");
  EXPECT_EQ(unicode_normalize("\u00e9", Form::kNfd), "e\u0301");
  EXPECT_EQ(unicode_normalize("\uFB01\u00B2", Form::kNfkc), "fi2");
  EXPECT_EQ(unicode_normalize("\uFB01\u00e9", Form::kNfkd), "fie\u0301");
  EXPECT_EQ(unicode_normalize("\u1112\u1161\u11ab", Form::kNfc), "\uD55C");
  EXPECT_EQ(unicode_normalize("\u212B", Form::kNfc), "\u00C5");
  EXPECT_EQ(unicode_normalize("a\u0315\u0300\u05ae\u0062", Form::kNfc), "\u00e0\u05ae\u0315b");
}

TEST(Unicode, AHostileRunOfMarksIsSortedInOrder) {
  std::string text = "a";
  std::string low;
  std::string high;
  for (int i = 0; i < 100000; ++i) {
    text += "\u0315\u0323";  // classes 232 and 220
    low += "\u0323";
    high += "\u0315";
  }
  EXPECT_EQ(unicode_normalize(text, Form::kNfd), "a" + low + high);
}

TEST(Unicode, Properties) {
  EXPECT_TRUE(is_whitespace(0x3000));
  EXPECT_FALSE(is_whitespace(0x200B));
  EXPECT_TRUE(is_numeric(U'²'));
  EXPECT_TRUE(is_numeric(U'Ⅷ'));
  EXPECT_TRUE(is_word_char(U'é'));
  EXPECT_TRUE(is_word_char(0x200D));
  EXPECT_FALSE(is_word_char(U'-'));
  EXPECT_TRUE(is_punctuation(U'$'));
  EXPECT_FALSE(is_punctuation(U'€'));
  EXPECT_TRUE(is_mark(0x301));
  std::string lower;
  append_lowercase(0x130, lower);
  append_lowercase(U'Σ', lower);
  EXPECT_EQ(lower, "i\u0307σ");
}

TEST(Unicode, NewerCharactersAreSortedAndFound) {
  char32_t end = 0;
  for (const NewerCharacters& r : newer_characters()) {
    EXPECT_LE(end, r.first);
    EXPECT_LE(r.first, r.last);
    EXPECT_EQ(newer_category(r.first), r.category);
    EXPECT_EQ(newer_category(r.last), r.category);
    end = r.last + 1;
  }
  EXPECT_EQ(newer_category(U'a'), "");
  EXPECT_EQ(newer_category(0x10FFFF), "");
}

TEST(ByteLevel, EveryByteHasItsCharacterAndBack) {
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    std::string mapped;
    append_byte_chars(byte, mapped);
    std::string back;
    append_token_bytes(mapped, back);
    ASSERT_EQ(back, byte);
  }
  std::string mapped;
  append_byte_chars(" \n!\xAD", mapped);
  EXPECT_EQ(mapped, "ĠĊ!Ń");
  std::string unmapped;
  append_token_bytes("Ġ漢", unmapped);
  EXPECT_EQ(unmapped, "Ġ漢");
}

}  // namespace
}  // namespace conclave::coordinator
