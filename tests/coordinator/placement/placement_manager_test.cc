// The manager over an engine that only remembers: plans, applies, rolls back, and decides by
// itself.

#include "coordinator/placement/placement_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "base/deadline.h"
#include "coordinator/engine/placement_rollout.h"

namespace conclave::coordinator {
namespace {

using placement::PlacementTable;

const std::vector<int32_t> kLayers = {0, 1};

// Every table that is asked for is in force at once.
class RecordingEngine : public Engine {
 public:
  absl::StatusOr<SequenceId> submit(GenerationRequest,
                                    std::shared_ptr<GenerationListener>) override {
    return absl::UnimplementedError("not here");
  }
  void cancel(SequenceId) override {}
  EngineStatus status() const override {
    EngineStatus status;
    status.model_fingerprint = "m";
    return status;
  }
  PlacementStatus placement() const override {
    const std::lock_guard lock(mutex_);
    PlacementStatus status;
    status.table = std::make_shared<const PlacementTable>(table_);
    status.target_epoch = table_.epoch();
    status.expert_slot_bytes = 100;
    status.expert_slots = 4;
    return status;
  }
  absl::Status apply_placement(const PlacementTable& target) override {
    const std::lock_guard lock(mutex_);
    const int64_t epoch = table_.epoch() + 1;
    table_ = target;
    table_.set_epoch(epoch);
    ++applied_;
    return absl::OkStatus();
  }
  void drain() override {}
  bool drained() const override { return false; }
  void end_requests(absl::Status) override {}
  void cordon(std::string) override {}
  void uncordon() override {}
  absl::StatusOr<std::vector<RequestStatus>> requests(std::chrono::milliseconds) const override {
    return std::vector<RequestStatus>();
  }
  void start_trace(int32_t) override {}
  void stop_trace() override {}
  TraceStatus trace() const override { return {}; }
  void set_rank_log_level(LogLevel) override {}
  int applied() const { return applied_; }

 private:
  mutable std::mutex mutex_;
  PlacementTable table_ = PlacementTable::contiguous(kLayers, 4, 2);
  std::atomic<int> applied_{0};
};

// Leaders always go from expert e to expert e + 1: contiguous crosses for half of them.
protocol::RoutingCounts rows(uint32_t count) {
  protocol::RoutingCounts counts;
  counts.rows = 4 * count;
  for (uint32_t e = 0; e < 4; ++e) {
    counts.loads.push_back({e, count});
    counts.loads.push_back({4 + e, count});
    counts.transitions.push_back({e * 4 + (e + 1) % 4, count});
  }
  return counts;
}

PlacementTable best() {
  return PlacementTable::contiguous(kLayers, 4, 2).with_layer(1, {{1}, {0}, {0}, {1}});
}

class PlacementManagerTest : public testing::Test {
 protected:
  void start(const std::function<void(PlacementManager::Options*)>& change = {}) {
    PlacementManager::Options options;
    options.window.shape = {kLayers, 4, 1};
    options.solve =
        [this](const placement::Problem& problem) -> absl::StatusOr<placement::Solution> {
      ++solved_;
      budget_ = problem.migration_budget;
      placement::Solution solution{best()};
      solution.objective_before = leader_crossings(*problem.profile, *problem.start);
      solution.objective_after = leader_crossings(*problem.profile, best());
      return solution;
    };
    if (change) change(&options);
    manager_ = *PlacementManager::create(options);
    manager_->attach(&engine_);
  }
  void report(uint32_t count) {
    const double before = manager_->view().profiled_tokens;
    manager_->add_routing({rows(count)});
    ASSERT_TRUE(eventually([&] { return manager_->view().profiled_tokens > before; }));
  }
  template <typename Condition>
  static bool eventually(Condition condition) {
    const Deadline deadline = Deadline::after_ms(20000);
    while (!condition()) {
      if (deadline.expired()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  RecordingEngine engine_;
  std::atomic<int> solved_{0};
  std::atomic<int64_t> budget_{0};
  std::unique_ptr<PlacementManager> manager_;
};

TEST_F(PlacementManagerTest, PlansAppliesAndRollsBack) {
  start();
  EXPECT_TRUE(absl::IsFailedPrecondition(manager_->plan({}).status()));  // nothing was counted
  report(10);
  const auto planned = manager_->plan({});
  ASSERT_TRUE(planned.ok()) << planned.status();
  EXPECT_EQ(planned->solution.moved_experts, 2);
  EXPECT_EQ(planned->bytes_to_move, 200u);
  EXPECT_GT(planned->predicted_pause_seconds, 0);

  auto applied = manager_->apply_plan(planned->id, /*dry_run=*/true);
  ASSERT_TRUE(applied.ok());
  EXPECT_EQ(applied->state, "dry_run");
  EXPECT_EQ(engine_.applied(), 0);
  applied = manager_->apply_plan(planned->id, /*dry_run=*/false);
  ASSERT_TRUE(applied.ok());
  EXPECT_EQ(applied->state, "applying");
  EXPECT_EQ(applied->epoch, 1);
  EXPECT_EQ(engine_.applied(), 1);
  EXPECT_EQ(manager_->apply_plan(planned->id, false)->state, "unchanged");
  EXPECT_TRUE(absl::IsNotFound(manager_->apply_plan("plan-77", false).status()));

  EXPECT_EQ(manager_->view().previous_epoch, 0);
  ASSERT_TRUE(manager_->rollback(false).ok());
  EXPECT_EQ(engine_.placement().table->holders(1, 0)[0], 0);
  ASSERT_TRUE(manager_->rollback(false).ok());  // back and forth
  EXPECT_EQ(engine_.placement().table->holders(1, 0)[0], 1);
}

TEST_F(PlacementManagerTest, APlanMadeByHandHasTheBudgetOfAutomaticOnesUnlessItNamesOne) {
  start([](PlacementManager::Options* options) { options->automatic.migration_share = 0.5; });
  report(10);
  const auto budget_of = [this](std::optional<int64_t> asked) {
    PlanRequest request;
    request.migration_budget = asked;
    const auto planned = manager_->plan(request);
    EXPECT_TRUE(planned.ok()) << planned.status();
    EXPECT_EQ(planned->migration_budget, budget_);
    return planned->migration_budget;
  };
  EXPECT_EQ(budget_of(std::nullopt), 4);  // half of eight
  EXPECT_EQ(budget_of(0), 0);
  EXPECT_EQ(budget_of(7), 7);
  EXPECT_EQ(budget_of(PlanRequest::kAnyNumber), PlanRequest::kAnyNumber);
}

// Or a plan under a budget could never leave a table that has replicas: its ranks hold more than an
// equal share.
TEST_F(PlacementManagerTest, APlanKeepsTheSlotsThatTheTableInForceUsesUnlessItNamesOthers) {
  start();
  report(10);
  EXPECT_EQ(manager_->plan({})->replicas, 0);
  ASSERT_TRUE(engine_.apply_placement(best().with_layer(0, {{0}, {0}, {0, 1}, {1}})).ok());
  EXPECT_EQ(manager_->plan({})->replicas, 1);
  PlanRequest request;
  request.replicas = 0;
  EXPECT_EQ(manager_->plan(request)->replicas, 0);
}

TEST_F(PlacementManagerTest, KeepsTheLastSixteenPlans) {
  start();
  report(10);
  std::vector<std::string> ids;
  for (int i = 0; i < 30; ++i) {
    const auto planned = manager_->plan({});
    ASSERT_TRUE(planned.ok()) << planned.status();
    ids.push_back(planned->id);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(manager_->apply_plan(ids[i], /*dry_run=*/true).ok(), i >= ids.size() - 16) << ids[i];
  }
}

TEST_F(PlacementManagerTest, WithoutAnAppliedTableThereIsNoWayBack) {
  start();
  EXPECT_TRUE(absl::IsNotFound(manager_->rollback(false).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      manager_->apply(PlacementTable::contiguous(kLayers, 4, 3), false).status()));
}

TEST_F(PlacementManagerTest, ProfilingStopsAndStartsAfresh) {
  start();
  report(10);
  manager_->set_profiling(false);
  manager_->add_routing({rows(5)});
  EXPECT_EQ(manager_->profile().tokens(), 40);
  manager_->set_profiling(true);
  EXPECT_EQ(manager_->profile().tokens(), 0);
  EXPECT_EQ(manager_->profile().model_fingerprint(), "m");
}

TEST_F(PlacementManagerTest, ALoadedProfileCanBePlannedFromAtOnce) {
  start();
  EXPECT_FALSE(manager_->recorded_traffic(best()).has_value());
  auto profile = *placement::RoutingProfile::create({kLayers, 4, 1});
  for (uint16_t e = 0; e < 4; ++e) {
    profile.add_row(std::vector<uint16_t>{e, static_cast<uint16_t>((e + 1) % 4)});
  }
  profile.set_model_fingerprint("another");
  EXPECT_TRUE(absl::IsInvalidArgument(manager_->load_profile(profile)));
  profile.set_model_fingerprint("m");
  ASSERT_TRUE(manager_->load_profile(profile).ok());
  EXPECT_TRUE(manager_->plan({}).ok());
  // Under the best table a token that followed its expert stays for the second layer.
  const auto contiguous = *manager_->recorded_traffic(PlacementTable::contiguous(kLayers, 4, 2));
  const auto placed = *manager_->recorded_traffic(best());
  EXPECT_LT(placed.moves, contiguous.moves);
  EXPECT_GT(placed.fixed_out, 0);
  EXPECT_EQ(placed.fixed_out, placed.fixed_back);  // one expert a token
  EXPECT_EQ(placed.coherent_back, 0);
}

TEST_F(PlacementManagerTest, ReplansByItselfOnceAndThenOnlyOnDrift) {
  start([](PlacementManager::Options* options) {
    options->automatic.on = true;
    options->automatic.period = std::chrono::milliseconds(5);
    options->automatic.cooldown = std::chrono::milliseconds(0);
    options->automatic.min_tokens = 100;
    options->automatic.request.max_imbalance = 2;
  });
  report(10);  // 40 rows are too few
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(solved_, 0);
  report(100);
  ASSERT_TRUE(eventually([&] { return engine_.applied() == 1; }));
  EXPECT_EQ(budget_, 2);  // a quarter of eight
  // The same traffic again: nothing drifts, nothing moves.
  report(100);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(engine_.applied(), 1);
  EXPECT_EQ(solved_, 1);
}

TEST_F(PlacementManagerTest, AGainThatIsTooSmallMovesNothing) {
  start([](PlacementManager::Options* options) {
    options->automatic.on = true;
    options->automatic.period = std::chrono::milliseconds(5);
    options->automatic.min_tokens = 100;
    options->automatic.min_gain = 2;  // more than there can be
  });
  report(100);
  ASSERT_TRUE(eventually([&] { return solved_ == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(engine_.applied(), 0);
  EXPECT_EQ(solved_, 1);
}

TEST_F(PlacementManagerTest, WhatIsInForceIsSavedForTheNextOne) {
  std::string folder = testing::TempDir() + "/manager-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const PlacementIdentity identity{{kLayers, 4, 1}, 2, "m", 0};
  const auto with_store = [&](PlacementManager::Options* options) {
    options->store = std::make_shared<PlacementStore>(folder);
    options->table_save_period = std::chrono::milliseconds(5);
  };
  start(with_store);
  report(10);
  ASSERT_TRUE(manager_->apply(best(), /*dry_run=*/false).ok());
  // Soon, since a process can be killed; the profile at the latest by stop().
  ASSERT_TRUE(eventually([&] {
    const auto saved = PlacementStore(folder).load_table(identity);
    return saved.ok() && arriving_experts(*saved, best()) == 0;
  }));
  EXPECT_FALSE(PlacementStore(folder).load_profile(identity).ok());
  manager_->stop();
  const auto profile = PlacementStore(folder).load_profile(identity);
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_NEAR(profile->tokens(), 40, 1e-6);

  // A successor's files are left alone.
  start(with_store);
  report(100);
  manager_->stop_saving();
  ASSERT_TRUE(manager_->apply(PlacementTable::contiguous(kLayers, 4, 2), false).ok());
  manager_->stop();
  EXPECT_EQ(arriving_experts(*PlacementStore(folder).load_table(identity), best()), 0);
  EXPECT_NEAR(PlacementStore(folder).load_profile(identity)->tokens(), 40, 1e-6);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace conclave::coordinator
