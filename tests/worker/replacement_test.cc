// Law 1 while experts move: a group whose placement changes every few steps gives the bits of one
// whose placement never does. Tables are random, with replicas; updates come whole and in pieces.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <random>

#include "expert_placement/table/placement_table.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

using Holders = std::vector<std::vector<int32_t>>;

constexpr int32_t kVocab = 512;
constexpr int kSequences = 5;
constexpr size_t kTokens = 40;

std::string model_path(const std::string& name) {
  return std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/" + name;
}

// Every expert on one random rank, some on a second one; at most `slots` on a rank.
Holders random_holders(int32_t experts, int ranks, int32_t slots, std::mt19937* random) {
  Holders holders(static_cast<size_t>(experts));
  std::vector<int32_t> used(static_cast<size_t>(ranks), 0);
  const auto put = [&](int32_t expert, bool must) {
    for (int tries = 0; tries < 64; ++tries) {
      const auto rank = static_cast<int32_t>((*random)() % static_cast<uint32_t>(ranks));
      auto& where = holders[static_cast<size_t>(expert)];
      const bool there = std::find(where.begin(), where.end(), rank) != where.end();
      if (there || used[static_cast<size_t>(rank)] >= slots) continue;
      where.push_back(rank);
      std::sort(where.begin(), where.end());
      ++used[static_cast<size_t>(rank)];
      return;
    }
    ASSERT_FALSE(must);
  };
  for (int32_t expert = 0; expert < experts; ++expert) put(expert, true);
  for (int32_t expert = 0; expert < experts; expert += 3) put(expert, false);
  return holders;
}

class ReplacementTest : public testing::TestWithParam<std::tuple<std::string, ComputeType, int>> {
 protected:
  absl::StatusOr<std::unique_ptr<ExecutorGroup>> make_group(const std::string& model) {
    GroupOptions options;
    options.model = model_path(model);
    options.kernel_set = std::get<0>(GetParam());
    options.compute = std::get<1>(GetParam());
    options.ranks = std::get<2>(GetParam());
    options.expert_slots = 7;
    return ExecutorGroup::create(options);
  }

  // Several sequences token by token; before every third step the placement changes if `moving`.
  absl::StatusOr<std::vector<float>> run(ExecutorGroup& group, bool moving) {
    std::mt19937 random(20261122);
    std::vector<float> logits;
    const auto layers = static_cast<int32_t>(group.spec().moe_layers().size());
    int64_t epoch = 0;
    for (size_t token = 0; token < kTokens; ++token) {
      protocol::StepPlan plan = plan_of(token, group.size());
      plan.placement_epoch = epoch;
      if (moving && token % 3 == 1) plan.prepare = update(epoch + 1, layers, group, &random);
      ASSIGN_OR_RETURN(const protocol::StepResult result, group.run(plan));
      for (const protocol::SequenceResult& sequence : result.sequences) {
        logits.insert(logits.end(), sequence.logits.begin(), sequence.logits.end());
      }
      if (!plan.prepare) continue;
      RETURN_IF_ERROR(group.wait_prepared(epoch + 1));
      ++epoch;
    }
    return logits;
  }

  static protocol::PlacementUpdate update(int64_t epoch, int32_t layers, ExecutorGroup& group,
                                          std::mt19937* random) {
    protocol::PlacementUpdate update{epoch, {}};
    update.layers.push_back({static_cast<int32_t>((*random)() % static_cast<uint32_t>(layers)),
                             random_holders(group.spec().experts, group.size(), 7, random)});
    return update;
  }

  static protocol::StepPlan plan_of(size_t token, int ranks) {
    protocol::StepPlan plan;
    plan.step = static_cast<int64_t>(token);
    plan.deadline_ms = 60000;
    for (int s = 0; s < kSequences; ++s) {
      const int32_t id = static_cast<int32_t>((token * 37 + static_cast<size_t>(s) * 101) % kVocab);
      plan.chunks.push_back(make_chunk(static_cast<uint64_t>(s + 1), {&id, 1},
                                       static_cast<int32_t>(token),
                                       consecutive_blocks(s * 4, kTokens)));
      plan.chunks.back().home_rank = s % ranks;
      plan.chunks.back().want_logits = true;
    }
    return plan;
  }
};

TEST_P(ReplacementTest, LogitsAreTheSameBitsWhileExpertsMove) {
  for (const char* model : {"mixtral", "qwen2_moe"}) {
    SCOPED_TRACE(model);
    auto quiet = make_group(model);
    ASSERT_TRUE(quiet.ok()) << quiet.status();
    const auto expected = run(**quiet, /*moving=*/false);
    ASSERT_TRUE(expected.ok()) << expected.status();
    auto group = make_group(model);
    ASSERT_TRUE(group.ok()) << group.status();
    const auto moved = run(**group, /*moving=*/true);
    ASSERT_TRUE(moved.ok()) << moved.status();
    ASSERT_EQ(moved->size(), kTokens * kSequences * kVocab);
    ASSERT_EQ(moved->size(), expected->size());
    EXPECT_EQ(std::memcmp(moved->data(), expected->data(), moved->size() * sizeof(float)), 0);
  }
}

std::string name_of(const testing::TestParamInfo<ReplacementTest::ParamType>& info) {
  std::string name = std::get<0>(info.param) + "_" + compute_type_name(std::get<1>(info.param)) +
                     "_ranks" + std::to_string(std::get<2>(info.param));
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(AllSets, ReplacementTest,
                         testing::Combine(testing::ValuesIn(host_kernel_sets()),
                                          testing::Values(ComputeType::kF32, ComputeType::kBF16),
                                          testing::Values(2, 4)),
                         name_of);

class SwitchTest : public testing::Test {
 protected:
  void SetUp() override {
    GroupOptions options;
    options.model = model_path("mixtral");
    options.ranks = 2;
    auto group = ExecutorGroup::create(options);
    ASSERT_TRUE(group.ok()) << group.status();
    group_ = *std::move(group);
    experts_ = group_->spec().experts;
  }
  // Expert e of the layer on rank (e + shift) % 2.
  Holders alternate(int shift) const {
    Holders holders;
    for (int32_t e = 0; e < experts_; ++e) holders.push_back({(e + shift) % 2});
    return holders;
  }
  protocol::StepResult run(const protocol::StepPlan& plan) {
    auto result = group_->run(plan);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : protocol::StepResult{};
  }
  bool placed(int rank, int32_t layer, int32_t expert) {
    const ExpertStore& store = group_->rank(rank).experts();
    EXPECT_EQ(store.placed(layer, expert), store.resident(layer, expert));
    return store.placed(layer, expert);
  }

  std::unique_ptr<ExecutorGroup> group_;
  int32_t experts_ = 0;
};

TEST_F(SwitchTest, ExpertsArriveBeforeTheSwitchAndLeaveWithIt) {
  const size_t free = group_->rank(0).experts().free_slots();
  protocol::StepPlan plan;
  plan.prepare = protocol::PlacementUpdate{1, {{1, alternate(0)}}};
  run(plan);
  ASSERT_TRUE(group_->wait_prepared(1).ok());
  for (int32_t e = 0; e < experts_; ++e) EXPECT_EQ(placed(0, 1, e), e < experts_ / 2);
  plan.prepare.reset();
  run(plan);  // the old epoch still runs
  plan.placement_epoch = 1;
  const protocol::StepResult result = run(plan);
  for (int32_t e = 0; e < experts_; ++e) {
    EXPECT_EQ(placed(0, 1, e), e % 2 == 0);
    EXPECT_EQ(placed(1, 1, e), e % 2 == 1);
    EXPECT_EQ(placed(0, 0, e), e < experts_ / 2);  // other layers stay
  }
  EXPECT_GT(result.ranks[0].switch_seconds, 0);
  EXPECT_EQ(group_->rank(0).experts().free_slots(), free);
}

TEST_F(SwitchTest, AnUpdateThatIsTakenBackLeavesNothingBehind) {
  const size_t free = group_->rank(0).experts().free_slots();
  protocol::StepPlan plan;
  plan.prepare = protocol::PlacementUpdate{1, {{0, alternate(1)}}};
  run(plan);
  ASSERT_TRUE(group_->wait_prepared(1).ok());
  plan.prepare = protocol::PlacementUpdate{1, {}};
  run(plan);
  EXPECT_EQ(group_->rank(0).experts().free_slots(), free);
  plan.prepare.reset();
  plan.placement_epoch = 1;
  EXPECT_TRUE(absl::IsFailedPrecondition(group_->run(plan).status()));
}

TEST_F(SwitchTest, MoreExpertsThanSlotsIsSaidAndNothingChanges) {
  Holders all;
  for (int32_t e = 0; e < experts_; ++e) all.push_back({0, 1});
  protocol::PlacementUpdate update{1, {}};
  for (int32_t layer = 0; layer < static_cast<int32_t>(group_->spec().moe_layers().size());
       ++layer) {
    update.layers.push_back({layer, all});
  }
  protocol::StepPlan plan;
  plan.prepare = update;
  run(plan);
  const absl::Status status = group_->wait_prepared(1);
  EXPECT_NE(std::string(status.message()).find("slots"), std::string::npos) << status;
  plan.prepare.reset();
  run(plan);
}

TEST_F(SwitchTest, AnUpdateOfAnotherShapeIsAnError) {
  protocol::StepPlan plan;
  plan.prepare = protocol::PlacementUpdate{1, {{99, alternate(0)}}};
  EXPECT_TRUE(absl::IsInvalidArgument(group_->run(plan).status()));
  plan.prepare = protocol::PlacementUpdate{1, {{0, {{5}}}}};
  EXPECT_TRUE(absl::IsInvalidArgument(group_->run(plan).status()));
}

}  // namespace
}  // namespace conclave::worker
