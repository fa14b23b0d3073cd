#include "coordinator/tokenizer/post_processor.h"

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

PostProcessor load(const std::string& json) {
  auto processor = PostProcessor::from_json(Json::parse(json), "post_processor");
  EXPECT_TRUE(processor.ok()) << processor.status();
  return processor.ok() ? *processor : PostProcessor();
}

constexpr const char* kTemplate = R"({"type": "TemplateProcessing",
  "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
  "special_tokens": {"<s>": {"id": "<s>", "ids": [1]}, "</s>": {"id": "</s>", "ids": [2, 3]}}})";

TEST(PostProcessor, ATemplateSurroundsTheIdsIfAsked) {
  const PostProcessor processor = load(kTemplate);
  EXPECT_EQ(processor.apply({7, 8}, true), (Ids{1, 7, 8, 2, 3}));
  EXPECT_EQ(processor.apply({7, 8}, false), (Ids{7, 8}));
  EXPECT_EQ(processor.apply({}, true), (Ids{1, 2, 3}));
}

TEST(PostProcessor, ASequenceWithByteLevelLeavesTheTemplateInForce) {
  const PostProcessor processor =
      load(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, )" +
           std::string(kTemplate) + "]}");
  EXPECT_EQ(processor.apply({7}, true), (Ids{1, 7, 2, 3}));
}

TEST(PostProcessor, NoneKeepsTheIds) { EXPECT_EQ(load("null").apply({7}, true), (Ids{7})); }

TEST(PostProcessor, RobertaSurroundsWithItsTwoTokens) {
  EXPECT_EQ(load(R"({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]})")
                .apply({7}, true),
            (Ids{0, 7, 2}));
}

TEST(PostProcessor, RefusesATemplateThatNamesAnUnknownToken) {
  EXPECT_FALSE(PostProcessor::from_json(Json::parse(R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {}})"),
                                        "p")
                   .ok());
}

}  // namespace
}  // namespace conclave::coordinator
