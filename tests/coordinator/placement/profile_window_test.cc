#include "coordinator/placement/profile_window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

ProfileWindow::Time at(double seconds) {
  return ProfileWindow::Time() + std::chrono::milliseconds(static_cast<int64_t>(1e3 * seconds));
}

ProfileWindow make(double half_life = 10, int64_t samples = 4) {
  return *ProfileWindow::create({{{0, 1}, 3, 2}, half_life, samples}, at(0));
}

// One row: experts 0 and 2 in layer 0 (0 leads), 1 and 2 in layer 1 (2 leads).
protocol::RoutingCounts one_row() {
  protocol::RoutingCounts counts;
  counts.rows = 1;
  counts.loads = {{0, 1}, {2, 1}, {3 + 1, 1}, {3 + 2, 1}};
  counts.transitions = {{0 * 3 + 2, 1}};
  counts.pairs = {{0 * 3 + 2, 1}, {9 + 1 * 3 + 2, 1}};
  counts.samples = {0, 2, 2, 1};
  counts.sample_sequences = {7};
  return counts;
}

TEST(ProfileWindowTest, CountsWhatRanksReport) {
  ProfileWindow window = make();
  ASSERT_TRUE(window.add(one_row(), at(1)).ok());
  ASSERT_TRUE(window.add(one_row(), at(2)).ok());
  EXPECT_EQ(window.profile().tokens(), 2);
  EXPECT_THAT(window.profile().loads(0), ElementsAre(2, 0, 2));
  EXPECT_THAT(window.profile().loads(1), ElementsAre(0, 2, 2));
  EXPECT_EQ(window.profile().transitions(0)[2], 2);
  EXPECT_EQ(window.profile().pairs(0)[2], 2);
  EXPECT_EQ(window.profile().pairs(1)[1 * 3 + 2], 2);
  EXPECT_EQ(window.snapshot().samples().rows(), 2);
}

TEST(ProfileWindowTest, CountsWeighHalfAfterTheHalfLife) {
  ProfileWindow window = make(/*half_life=*/10);
  ASSERT_TRUE(window.add(one_row(), at(0)).ok());
  ASSERT_TRUE(window.add(one_row(), at(10)).ok());
  EXPECT_THAT(window.profile().tokens(), DoubleNear(1.5, 1e-9));
  EXPECT_THAT(window.profile().loads(0)[0], DoubleNear(1.5, 1e-9));
}

TEST(ProfileWindowTest, KeepsTheNewestSamplesWithRowsOfASequenceTogether) {
  ProfileWindow window = make(10, 4);
  for (int i = 0; i < 20; ++i) {
    protocol::RoutingCounts counts = one_row();
    counts.sample_sequences = {i % 2};
    ASSERT_TRUE(window.add(counts, at(1)).ok());
  }
  const placement::RoutingRows samples = window.snapshot().samples();
  EXPECT_GE(samples.rows(), 4);
  EXPECT_LE(samples.rows(), 8);
  EXPECT_TRUE(std::is_sorted(samples.sequence.begin(), samples.sequence.end()));
}

TEST(ProfileWindowTest, GoesOnFromALoadedProfile) {
  ProfileWindow saved = make();
  ASSERT_TRUE(saved.add(one_row(), at(1)).ok());
  ASSERT_TRUE(saved.add(one_row(), at(2)).ok());
  ProfileWindow window = make(/*half_life=*/10);
  ASSERT_TRUE(window.add(one_row(), at(1)).ok());
  ASSERT_TRUE(window.replace(saved.snapshot(), at(20)).ok());
  EXPECT_EQ(window.profile().tokens(), 2);
  EXPECT_EQ(window.snapshot().samples().rows(), 2);
  ASSERT_TRUE(window.add(one_row(), at(30)).ok());  // what was loaded ages like what was counted
  EXPECT_THAT(window.profile().tokens(), DoubleNear(2, 1e-9));
  const placement::RoutingRows rows = window.snapshot().samples();
  EXPECT_EQ(rows.rows(), 3);
  EXPECT_LT(rows.sequence.front(), 0);  // another sequence 7 than the live one
  EXPECT_EQ(rows.sequence.back(), 7);
  // Counts alone, as JSON has them, and a profile of another model.
  ASSERT_TRUE(window.replace(window.profile(), at(30)).ok());
  EXPECT_EQ(window.snapshot().samples().rows(), 0);
  ASSERT_TRUE(window.add(one_row(), at(31)).ok());
  EXPECT_EQ(window.snapshot().samples().rows(), 1);
  const auto other = *placement::RoutingProfile::create({{0, 1}, 4, 2});
  EXPECT_TRUE(absl::IsInvalidArgument(window.replace(other, at(32))));
  EXPECT_GT(window.profile().tokens(), 0);
}

TEST(ProfileWindowTest, CountsOfAnotherModelAreRefusedWhole) {
  protocol::RoutingCounts bad = one_row();
  bad.pairs.push_back({18, 1});
  ProfileWindow window = make();
  EXPECT_TRUE(absl::IsInvalidArgument(window.add(bad, at(1))));
  bad = one_row();
  bad.samples.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(window.add(bad, at(1))));
  bad = one_row();
  bad.samples[1] = 3;
  EXPECT_TRUE(absl::IsInvalidArgument(window.add(bad, at(1))));
  EXPECT_TRUE(window.profile().empty());
}

TEST(ProfileWindowTest, BalanceAndCrossingsOfATable) {
  ProfileWindow window = make();
  ASSERT_TRUE(window.add(one_row(), at(1)).ok());
  // Ranks 0, 0, 1: layer 0 has one row on each, layer 1 too; the leaders 0 -> 2 cross.
  const auto table = placement::PlacementTable::contiguous({0, 1}, 3, 2);
  EXPECT_THAT(rank_balance(window.profile(), table), ElementsAre(1, 1));
  EXPECT_EQ(leader_crossings(window.profile(), table), 1);
  const auto better = table.with_layer(1, {{1}, {1}, {0}});
  EXPECT_EQ(leader_crossings(window.profile(), better), 0);
  const auto replica = table.with_layer(1, {{0}, {0}, {0, 1}});
  EXPECT_EQ(leader_crossings(window.profile(), replica), 0);
  EXPECT_THAT(rank_balance(window.profile(), replica)[1], DoubleNear(1.5, 1e-9));
}

}  // namespace
}  // namespace conclave::coordinator
