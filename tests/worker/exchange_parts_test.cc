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
  groups.group_from(0);
  EXPECT_THAT(groups.experts(), ElementsAre(1, 3));
  EXPECT_THAT(groups.group_rows(), ElementsAre(1, 2));
  EXPECT_THAT(groups.input_rows(1), ElementsAre(0, 2));
  EXPECT_THAT(groups.output_rows(1), ElementsAre(0, 2));
  groups.add(0, 7);
  groups.group_from(3);
  EXPECT_THAT(groups.experts(), ElementsAre(0));
  EXPECT_THAT(groups.input_rows(0), ElementsAre(7));
  EXPECT_THAT(groups.output_rows(0), ElementsAre(3));
}

// Runs `layers` layers of a size whose true costs are given; how many of them overlapped.
int run_layers(OverlapChooser* chooser, int64_t rows, double without, double with, int layers) {
  int overlapped = 0;
  for (int i = 0; i < layers; ++i) {
    const bool overlap = chooser->choose(rows);
    chooser->observe(overlap ? with : without);
    overlapped += overlap ? 1 : 0;
  }
  return overlapped;
}

TEST(OverlapChooserTest, KeepsTheCheaperWayAndTriesTheOtherSeldom) {
  OverlapChooser costs(OverlapMode::kAuto);
  run_layers(&costs, 64, 1.00e-3, 1.09e-3, 100);
  EXPECT_LE(run_layers(&costs, 64, 1.00e-3, 1.09e-3, 1280), 10);
  OverlapChooser pays(OverlapMode::kAuto);
  run_layers(&pays, 64, 1.09e-3, 1.00e-3, 100);
  EXPECT_GE(run_layers(&pays, 64, 1.09e-3, 1.00e-3, 1280), 1270);
}

TEST(OverlapChooserTest, DecidesForEachSizeOfWork) {
  OverlapChooser chooser(OverlapMode::kAuto);
  for (int round = 0; round < 200; ++round) {
    run_layers(&chooser, 8, 1e-3, 2e-3, 1);
    run_layers(&chooser, 4096, 2e-1, 1e-1, 1);
  }
  EXPECT_LE(run_layers(&chooser, 8, 1e-3, 2e-3, 100), 2);
  EXPECT_GE(run_layers(&chooser, 4096, 2e-1, 1e-1, 100), 98);
}

TEST(OverlapChooserTest, FollowsCostsThatChangeAndBearsOutliers) {
  OverlapChooser chooser(OverlapMode::kAuto);
  run_layers(&chooser, 64, 1e-3, 2e-3, 200);
  run_layers(&chooser, 64, 1.0, 1.0, 1);  // the thread lost its core for a second
  EXPECT_LE(run_layers(&chooser, 64, 1e-3, 2e-3, 100), 2);
  run_layers(&chooser, 64, 4e-3, 2e-3, 3000);  // the transport became slow
  EXPECT_GE(run_layers(&chooser, 64, 4e-3, 2e-3, 100), 98);
}

TEST(OverlapChooserTest, FixedModesAndEmptyLayersNeedNoMeasurement) {
  OverlapChooser on(OverlapMode::kOn);
  EXPECT_EQ(run_layers(&on, 8, 1e-3, 9e-3, 200), 200);
  OverlapChooser off(OverlapMode::kOff);
  EXPECT_EQ(run_layers(&off, 8, 9e-3, 1e-3, 200), 0);
  OverlapChooser nothing(OverlapMode::kAuto);
  EXPECT_EQ(run_layers(&nothing, 0, 9e-3, 1e-3, 200), 0);
}

TEST(ExpertCostModelTest, LearnsFromWhatItMeasures) {
  // Reading the weights takes 1 ms, a row 10 us.
  ExpertCostModel model({/*weight_bytes=*/1e6, /*flops_per_row=*/1e4}, {1e9, 1e9});
  const double before = model.expert_seconds(1);
  EXPECT_NEAR(before, 1e-3, 1e-9);
  EXPECT_NEAR(model.expert_seconds(200), 2e-3, 1e-9);
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
