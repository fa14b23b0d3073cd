// The small parts of the expert exchange: message format, grouping and the cost model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "worker/dispatch_message.h"
#include "worker/expert_groups.h"
#include "worker/overlap_model.h"

namespace conclave::worker {
namespace {

using testing::ElementsAre;

std::vector<std::byte> message_of_two_rows() {
  constexpr size_t kRowBytes = 4;
  std::vector<std::byte> message(dispatch_message_bytes(2, 3, kRowBytes));
  DispatchWriter writer(message.data(), 2, 3, kRowBytes);
  writer.add_row(reinterpret_cast<const std::byte*>("abcd"));
  writer.add_expert(4);
  writer.add_expert(9);
  writer.add_row(reinterpret_cast<const std::byte*>("wxyz"));
  writer.add_expert(2);
  return message;
}

TEST(DispatchMessageTest, ReadsBackWhatWasWritten) {
  const std::vector<std::byte> message = message_of_two_rows();
  DispatchReader reader;
  ASSERT_TRUE(reader.open(message, 4, 2).ok());
  ASSERT_EQ(reader.rows(), 2u);
  ASSERT_EQ(reader.pairs(), 3u);
  EXPECT_EQ(reader.experts_of_row(0), 2u);
  EXPECT_EQ(reader.experts_of_row(1), 1u);
  EXPECT_EQ(reader.expert(0), 4);
  EXPECT_EQ(reader.expert(1), 9);
  EXPECT_EQ(reader.expert(2), 2);
  EXPECT_EQ(std::memcmp(reader.row_data(), "abcdwxyz", 8), 0);
}

TEST(DispatchMessageTest, AnEmptyMessageHasNoRows) {
  EXPECT_EQ(dispatch_message_bytes(0, 0, 4), 0u);
  DispatchReader reader;
  ASSERT_TRUE(reader.open({}, 4, 2).ok());
  EXPECT_EQ(reader.rows(), 0u);
}

TEST(DispatchMessageTest, RejectsDamagedMessages) {
  const std::vector<std::byte> good = message_of_two_rows();
  DispatchReader reader;
  EXPECT_FALSE(reader.open(good, 4, 1).ok());  // more rows than a rank may send
  EXPECT_FALSE(reader.open(good, 8, 2).ok());  // another row size
  for (size_t bytes = 1; bytes < good.size(); ++bytes) {
    EXPECT_FALSE(reader.open(std::span(good).first(bytes), 4, 2).ok()) << bytes;
  }
  std::vector<std::byte> counts = good;
  counts[8] = std::byte{7};
  EXPECT_FALSE(reader.open(counts, 4, 2).ok());
}

TEST(ExpertGroupsTest, GroupsPairsByExpertInAscendingOrder) {
  ExpertGroups groups(5, 10);
  EXPECT_EQ(groups.add(3, 0), 0);
  EXPECT_EQ(groups.add(1, 0), 1);
  EXPECT_EQ(groups.add(3, 2), 2);
  groups.group_all();
  EXPECT_THAT(groups.experts(), ElementsAre(1, 3));
  EXPECT_THAT(groups.group_rows(), ElementsAre(1, 2));
  EXPECT_THAT(groups.input_rows(1), ElementsAre(0, 2));
  EXPECT_THAT(groups.output_rows(1), ElementsAre(0, 2));
}

TEST(ExpertGroupsTest, WhatIsLeftAreExpertsNotReachedAndPairsThatCameLater) {
  ExpertGroups groups(5, 10);
  groups.add(3, 0);
  groups.add(1, 0);
  groups.add(3, 2);
  groups.add(1, 7);  // came later, as did the next
  groups.add(3, 8);
  groups.group_rest(/*begun=*/3, /*done_experts=*/2);
  EXPECT_THAT(groups.experts(), ElementsAre(1, 3));
  EXPECT_THAT(groups.input_rows(0), ElementsAre(7));
  EXPECT_THAT(groups.output_rows(0), ElementsAre(3));
  EXPECT_THAT(groups.input_rows(1), ElementsAre(0, 2, 8));
  groups.group_rest(/*begun=*/3, /*done_experts=*/5);
  EXPECT_THAT(groups.input_rows(1), ElementsAre(8));
  groups.group_rest(/*begun=*/5, /*done_experts=*/5);
  EXPECT_TRUE(groups.experts().empty());
}

TEST(ExpertCostModelTest, LearnsFromWhatItMeasures) {
  // Reading the weights takes 1 ms, a row 10 us.
  ExpertCostModel model({/*weight_bytes=*/1e6, /*flops_per_row=*/1e4}, {1e9, 1e9});
  const double before = model.expert_seconds(1);
  EXPECT_NEAR(before, 1e-3, 1e-9);
  EXPECT_NEAR(model.expert_seconds(200), 2e-3, 1e-9);
  EXPECT_NEAR(model.repeat_seconds(1), 1e-3, 1e-9);   // the weights are read once more
  EXPECT_NEAR(model.repeat_seconds(80), 4e-4, 1e-9);  // 2 * 1 ms instead of 160 * 10 us
  EXPECT_NEAR(model.repeat_seconds(100), 0, 1e-9);
  for (int i = 0; i < 200; ++i) model.observe_experts(model.expert_seconds(1), 2 * before);
  EXPECT_NEAR(model.expert_seconds(1), 2 * before, 0.01 * before);
}

TEST(OverlapModeTest, ParsesModes) {
  EXPECT_EQ(*parse_overlap_mode("on"), OverlapMode::kOn);
  EXPECT_EQ(*parse_overlap_mode("off"), OverlapMode::kOff);
  EXPECT_EQ(*parse_overlap_mode("auto"), OverlapMode::kAuto);
  EXPECT_FALSE(parse_overlap_mode("maybe").ok());
}

}  // namespace
}  // namespace conclave::worker
