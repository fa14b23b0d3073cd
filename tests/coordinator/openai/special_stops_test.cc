// Stop strings that are, or hold, special tokens.

#include "coordinator/openai/special_stops.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int32_t kVocab = 5;

// a 0, b 1; <end> 2 and <far> 5 are special, <tool> 3 is not.
std::shared_ptr<const Tokenizer> tokenizer() {
  auto loaded = Tokenizer::from_json(R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "<end>": 2, "<tool>": 3, "c": 4, "<far>": 5}, "merges": []},
    "added_tokens": [{"id": 2, "content": "<end>", "special": true}, {"id": 3, "content": "<tool>"}, {"id": 5, "content": "<far>", "special": true}]})",
                                     "", "test");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *loaded : nullptr;
}

TEST(SpecialStops, ASpecialTokenStopsAtItsId) {
  GenerationFields fields;
  fields.stop = {"a", "<end>", "<tool>", "a<tool>"};
  fields.stop_token_ids = {1};
  EXPECT_EQ(stop_at_special_tokens(*tokenizer(), kVocab, &fields), std::nullopt);
  EXPECT_THAT(fields.stop_token_ids, ElementsAre(1, 2));
  EXPECT_EQ(fields.stop.size(), 4u);  // the same text out of other tokens stops too
}

TEST(SpecialStops, ATokenThatTheModelLacksNeverComes) {
  GenerationFields fields;
  fields.stop = {"<far>"};
  EXPECT_EQ(stop_at_special_tokens(*tokenizer(), kVocab, &fields), std::nullopt);
  EXPECT_THAT(fields.stop_token_ids, IsEmpty());
}

TEST(SpecialStops, OneBesideOtherTextIsRefusedWhereItCannotBeFound) {
  GenerationFields fields;
  fields.stop = {"b", "a<end>"};
  const auto error = stop_at_special_tokens(*tokenizer(), kVocab, &fields);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status, 400);
  EXPECT_EQ(error->param, "stop[1]");
  EXPECT_THAT(error->message, HasSubstr("<end>"));
  fields.skip_special_tokens = false;
  EXPECT_EQ(stop_at_special_tokens(*tokenizer(), kVocab, &fields), std::nullopt);
}

}  // namespace
}  // namespace conclave::coordinator
