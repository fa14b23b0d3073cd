#include <algorithm>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using End = BoundedEncoding::End;

// Runs of one character make single words that are long and hard; the others make many words.
std::string drawn_text(std::mt19937& random) {
  static const std::vector<std::string> kUnits = {
      " ", "a", "\n", "word ", "7", "你", "é", "🙂", "\t", "<|im_end|>", "</s>", "aB", "\xff"};
  std::string text;
  for (int run = 0; run < 4; ++run) {
    const std::string& unit = kUnits[random() % kUnits.size()];
    const size_t times = random() % 3 == 0 ? random() % 6000 : random() % 30;
    for (size_t i = 0; i < times; ++i) text += unit;
  }
  return text;
}

TEST(EncodeLimits, NothingChangesWithinAndBeyondIsNeverAFalseAlarm) {
  std::mt19937 random(11);
  for (const NamedTokenizer& named : all_tokenizers()) {
    SCOPED_TRACE(named.name);
    for (int round = 0; round < 12; ++round) {
      const std::string text = drawn_text(random);
      const bool special = round % 2 == 0;
      const std::vector<int32_t> ids = named.tokenizer->encode(text, special);
      for (const size_t limit :
           {size_t{0}, ids.size() / 2, ids.size() - std::min<size_t>(1, ids.size()), ids.size(),
            ids.size() + 7}) {
        const BoundedEncoding bounded =
            named.tokenizer->encode_within(text, special, {.max_tokens = limit});
        if (ids.size() <= limit) {
          ASSERT_EQ(bounded.end, End::kComplete);
          ASSERT_EQ(bounded.ids, ids);
        } else {
          ASSERT_EQ(bounded.end, End::kTooLong) << ids.size() << " in " << limit;
          ASSERT_GT(bounded.at_least, limit);
          ASSERT_LE(bounded.at_least, ids.size());
        }
      }
    }
  }
}

// One word of millions of characters is judged by its length, not by merging it.
TEST(EncodeLimits, AGiantWordIsCountedNotMerged) {
  const auto tokenizer = load_folder(demo_folder());
  const std::string blanks(1 << 20, ' ');
  const BoundedEncoding bounded = tokenizer->encode_within(blanks, false, {.max_tokens = 2048});
  EXPECT_EQ(bounded.end, End::kTooLong);
  // Merging would have given the true number, some 32 blanks a token.
  EXPECT_LT(bounded.at_least, tokenizer->encode(blanks, false).size());
  EXPECT_GT(bounded.at_least, blanks.size() / 128);
}

TEST(EncodeLimits, CancellingEndsIt) {
  const auto tokenizer = load_folder(demo_folder());
  std::atomic<bool> cancelled{true};
  EXPECT_EQ(tokenizer->encode_within("a word", false, {.cancelled = &cancelled}).end,
            End::kCancelled);
  cancelled = false;
  EXPECT_EQ(tokenizer->encode_within("a word", false, {.cancelled = &cancelled}).end,
            End::kComplete);
}

}  // namespace
}  // namespace conclave::coordinator
