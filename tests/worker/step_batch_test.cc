#include "worker/step_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace conclave::worker {
namespace {

using testing::HasSubstr;

constexpr int32_t kRank = 1;

StepLimits limits() {
  StepLimits limits;
  limits.ranks = 2;
  limits.max_rows = 8;
  limits.max_positions = 40;
  limits.kv_blocks = 10;
  limits.vocab = 100;
  return limits;
}

protocol::SequenceChunk chunk(uint64_t id, std::vector<int32_t> tokens, int32_t start,
                              std::vector<int32_t> blocks) {
  protocol::SequenceChunk chunk;
  chunk.sequence_id = id;
  chunk.home_rank = kRank;
  chunk.tokens = std::move(tokens);
  chunk.start_position = start;
  chunk.block_ids = std::move(blocks);
  return chunk;
}

protocol::StepPlan plan_of(std::vector<protocol::SequenceChunk> chunks) {
  protocol::StepPlan plan;
  plan.chunks = std::move(chunks);
  return plan;
}

TEST(StepBatchTest, TakesOnlyTheChunksOfItsRankWithPositionsAndBlockTables) {
  StepBatch batch(limits());
  const auto plan = plan_of({chunk(1, {5, 6}, 3, {7}), chunk(2, {9}, 0, {1}), chunk(3, {8}, 16, {2, 4})});
  auto elsewhere = plan;
  elsewhere.chunks[1].home_rank = 0;
  ASSERT_TRUE(batch.assign(elsewhere, kRank, PreviousTokens()).ok());
  EXPECT_THAT(batch.tokens(), testing::ElementsAre(5, 6, 8));
  const kernels::AttentionBatch attention = batch.attention();
  EXPECT_THAT(attention.block_ids, testing::ElementsAre(7, 2, 4));
  EXPECT_EQ(attention.rows[1].position, 4);
  EXPECT_EQ(attention.rows[1].block_table, 0);
  EXPECT_EQ(attention.rows[2].position, 16);
  EXPECT_EQ(attention.rows[2].block_table, 1);
  EXPECT_EQ(batch.first_row(1), -1);
  EXPECT_EQ(batch.first_row(2), 2);
}

TEST(StepBatchTest, ResolvesThePreviousTokenOfASequence) {
  PreviousTokens previous;
  previous.add(9, 90);
  previous.add(4, 40);
  previous.sort();
  StepBatch batch(limits());
  ASSERT_TRUE(batch.assign(plan_of({chunk(4, {protocol::kPreviousToken}, 1, {0})}), kRank, previous).ok());
  EXPECT_THAT(batch.tokens(), testing::ElementsAre(40));
  const absl::Status status =
      batch.assign(plan_of({chunk(5, {protocol::kPreviousToken}, 1, {0})}), kRank, previous);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("sequence 5 asks for its previous token"));
}

TEST(StepBatchTest, ListsHeadRowsWithTheirPenalties) {
  auto first = chunk(1, {5, 6, 7}, 0, {0});
  first.prompt_top_logprobs = 2;
  first.prompt_targets = {6, -1, 8};
  auto second = chunk(2, {9}, 0, {1});
  second.sample = true;
  second.sampling.counts = {{3, 2, true}};
  second.sampling.bias = {{4, 1.5f}, {5, -1.0f}};
  StepBatch batch(limits());
  const protocol::StepPlan plan = plan_of({first, second});
  ASSERT_TRUE(batch.assign(plan, kRank, PreviousTokens()).ok());
  ASSERT_EQ(batch.head_rows().size(), 3u);
  EXPECT_EQ(batch.head_rows()[1].row, 2);
  EXPECT_EQ(batch.head_rows()[1].use, HeadRow::Use::kPromptTarget);
  EXPECT_EQ(batch.sampling()[1].target, 8);
  EXPECT_EQ(batch.sampling()[1].top_logprobs, 2);
  EXPECT_EQ(batch.head_rows()[2].use, HeadRow::Use::kSample);
  EXPECT_EQ(batch.sampling()[2].target, -1);
  ASSERT_EQ(batch.sampling()[2].counts.size(), 1u);
  EXPECT_EQ(batch.sampling()[2].counts[0].output_count, 2);
  ASSERT_EQ(batch.sampling()[2].bias.size(), 2u);
  EXPECT_EQ(batch.sampling()[2].bias[1].token, 5);
}

TEST(StepBatchTest, SaysWhatIsWrongWithAPlan) {
  const auto error = [](protocol::SequenceChunk bad) {
    StepBatch batch(limits());
    const absl::Status status = batch.assign(plan_of({std::move(bad)}), kRank, PreviousTokens());
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error(chunk(1, {}, 0, {0})), HasSubstr("no tokens"));
  EXPECT_THAT(error(chunk(1, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 0, {0})), HasSubstr("9 rows; at most 8"));
  EXPECT_THAT(error(chunk(1, {1}, 40, {0, 1, 2})), HasSubstr("the longest sequence has 40"));
  EXPECT_THAT(error(chunk(1, {1}, -1, {0})), HasSubstr("position -1"));
  EXPECT_THAT(error(chunk(1, {1}, 16, {0})), HasSubstr("blocks for 16 tokens but needs 17"));
  EXPECT_THAT(error(chunk(1, {1}, 0, {10})), HasSubstr("block 10 of 10"));
  EXPECT_THAT(error(chunk(1, {1}, 0, {-1})), HasSubstr("block -1"));
  EXPECT_THAT(error(chunk(1, {100}, 0, {0})), HasSubstr("token 100"));
  EXPECT_THAT(error(chunk(1, {-2}, 0, {0})), HasSubstr("token -2"));
  auto targets = chunk(1, {1, 2}, 0, {0});
  targets.prompt_targets = {1};
  EXPECT_THAT(error(targets), HasSubstr("1 prompt targets for 2 tokens"));
  auto bias = chunk(1, {1}, 0, {0});
  bias.sampling.bias = {{100, 1.0f}};
  EXPECT_THAT(error(bias), HasSubstr("biases token 100"));
  auto top = chunk(1, {1}, 0, {0});
  top.sampling.top_logprobs = 21;
  EXPECT_THAT(error(top), HasSubstr("more than 20 top logprobs"));
  auto home = chunk(1, {1}, 0, {0});
  home.home_rank = 2;
  EXPECT_THAT(error(home), HasSubstr("home rank 2 of a group of 2"));
}

}  // namespace
}  // namespace conclave::worker
