#include "coordinator/engine/placement_rollout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace conclave::coordinator {
namespace {

using placement::PlacementTable;
using testing::HasSubstr;

constexpr int32_t kExperts = 8;
constexpr int32_t kRanks = 2;
const std::vector<int32_t> kLayers = {0, 1, 2, 3};

PlacementTable contiguous() { return PlacementTable::contiguous(kLayers, kExperts, kRanks); }

// Plays the ranks: what is prepared, and what is in force.
class Ranks {
 public:
  explicit Ranks(const PlacementTable& table) : table_(table) {}
  void see(const protocol::StepPlan& plan) {
    if (plan.placement_epoch != table_.epoch()) {
      ASSERT_TRUE(loaded_.has_value());
      ASSERT_EQ(plan.placement_epoch, loaded_->epoch);
      for (const auto& layer : loaded_->layers) {
        most_arrivals_ = std::max(most_arrivals_, arrivals(layer));
        table_ = table_.with_layer(layer.moe_layer, layer.holders);
      }
      table_.set_epoch(plan.placement_epoch);
      loaded_.reset();
    }
    if (plan.prepare) loaded_ = plan.prepare;
  }
  const PlacementTable& table() const { return table_; }
  int64_t most_arrivals() const { return most_arrivals_; }
  const std::optional<protocol::PlacementUpdate>& loaded() const { return loaded_; }

 private:
  int64_t arrivals(const protocol::LayerPlacement& layer) const {
    return arriving_experts(table_, table_.with_layer(layer.moe_layer, layer.holders));
  }
  PlacementTable table_;
  std::optional<protocol::PlacementUpdate> loaded_;
  int64_t most_arrivals_ = 0;
};

// One step: true if the rollout had something to say.
bool step(PlacementRollout* rollout, Ranks* ranks) {
  const bool news = rollout->has_news();
  EXPECT_EQ(rollout->may_plan_ahead(), !news);
  protocol::StepPlan plan;
  rollout->annotate(&plan);
  // The epoch of the plan after the one that switches is known when that one has ended.
  EXPECT_EQ(rollout->may_plan_ahead(), plan.placement_epoch == rollout->table().epoch());
  ranks->see(plan);
  rollout->step_finished();
  return news;
}

void answer(PlacementRollout* rollout, const Ranks& ranks) {
  for (int32_t rank = 0; rank < kRanks; ++rank) {
    rollout->prepared(rank, {ranks.loaded()->epoch, "", 0, 0});
  }
}

TEST(PlacementRolloutTest, ReachesAnyTableInStagesThatFitTheSpareSlots) {
  PlacementRollout rollout(contiguous());
  Ranks ranks(contiguous());
  rollout.group_ready(/*slots=*/4, /*spare_slots=*/4);
  for (uint64_t seed = 1; seed < 20; ++seed) {
    const PlacementTable target = PlacementTable::random(kLayers, kExperts, kRanks, seed);
    ASSERT_TRUE(rollout.begin(target).ok());
    const int64_t epoch = rollout.target_epoch();
    for (int steps = 0; rollout.under_way(); ++steps) {
      ASSERT_LT(steps, 100);
      step(&rollout, &ranks);
      EXPECT_FALSE(step(&rollout, &ranks));  // nothing new until all ranks answered
      rollout.prepared(0, {ranks.loaded()->epoch, "", 0, 0});
      EXPECT_FALSE(rollout.has_news());
      rollout.prepared(0, {ranks.loaded()->epoch, "", 0, 0});  // twice is not all
      EXPECT_FALSE(rollout.has_news());
      rollout.prepared(1, {ranks.loaded()->epoch, "", 0, 0});
      EXPECT_TRUE(rollout.has_news());
      step(&rollout, &ranks);
      EXPECT_EQ(rollout.table().epoch(), ranks.table().epoch());
      EXPECT_EQ(arriving_experts(rollout.table(), ranks.table()), 0);
      if (rollout.under_way()) continue;
    }
    EXPECT_EQ(arriving_experts(rollout.table(), target), 0);
    EXPECT_EQ(rollout.table().epoch(), epoch);
  }
  EXPECT_LE(ranks.most_arrivals(), 2 * 4);
}

TEST(PlacementRolloutTest, ATableEqualToTheOneInForceIsDoneAtOnce) {
  PlacementRollout rollout(contiguous());
  rollout.group_ready(4, 4);
  ASSERT_TRUE(rollout.begin(contiguous()).ok());
  EXPECT_FALSE(rollout.under_way());
  EXPECT_FALSE(rollout.has_news());
}

TEST(PlacementRolloutTest, RefusesWhatDoesNotFitAndASecondOne) {
  PlacementRollout rollout(contiguous());
  const PlacementTable target = PlacementTable::random(kLayers, kExperts, kRanks, 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(rollout.begin(target)));  // no group yet
  rollout.group_ready(4, 4);
  EXPECT_TRUE(
      absl::IsInvalidArgument(rollout.begin(PlacementTable::contiguous(kLayers, kExperts, 3))));
  std::vector<std::vector<int32_t>> all_on_one(kExperts, {0});
  const absl::Status full = rollout.begin(contiguous().with_layer(2, all_on_one));
  EXPECT_TRUE(absl::IsInvalidArgument(full));
  EXPECT_THAT(std::string(full.message()), HasSubstr("MoE layer 2 on rank 0"));
  ASSERT_TRUE(rollout.begin(target).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(rollout.begin(target)));
}

TEST(PlacementRolloutTest, ARankThatCannotPrepareEndsItAndTheUpdateIsTakenBack) {
  PlacementRollout rollout(contiguous());
  Ranks ranks(contiguous());
  rollout.group_ready(4, 4);
  ASSERT_TRUE(rollout.begin(PlacementTable::random(kLayers, kExperts, kRanks, 1)).ok());
  step(&rollout, &ranks);
  rollout.prepared(1, {1, "no room", 0, 0});
  EXPECT_THAT(rollout.failure(), HasSubstr("rank 1 could not prepare placement epoch 1: no room"));
  EXPECT_TRUE(step(&rollout, &ranks));
  ASSERT_TRUE(ranks.loaded());
  EXPECT_TRUE(ranks.loaded()->layers.empty());
  EXPECT_FALSE(rollout.under_way());
  EXPECT_EQ(rollout.table().epoch(), 0);
}

TEST(PlacementRolloutTest, AGroupThatDiesKeepsTheLastTableInForce) {
  PlacementRollout rollout(contiguous());
  Ranks ranks(contiguous());
  rollout.group_ready(4, 4);
  ASSERT_TRUE(rollout.begin(PlacementTable::random(kLayers, kExperts, kRanks, 3)).ok());
  ASSERT_GT(rollout.stages_left(), 1u);
  step(&rollout, &ranks);
  answer(&rollout, ranks);
  step(&rollout, &ranks);
  EXPECT_EQ(rollout.table().epoch(), 1);
  const PlacementTable in_force = rollout.table();
  protocol::StepPlan lost;
  rollout.annotate(&lost);
  for (int32_t rank = 0; rank < kRanks; ++rank) rollout.prepared(rank, {2, "", 0, 0});
  rollout.group_failed();
  EXPECT_FALSE(rollout.under_way());
  EXPECT_EQ(rollout.table().to_json(), in_force.to_json());
  EXPECT_TRUE(absl::IsFailedPrecondition(rollout.begin(contiguous())));
  rollout.group_ready(4, 4);
  EXPECT_TRUE(rollout.begin(contiguous()).ok());
}

}  // namespace
}  // namespace conclave::coordinator
