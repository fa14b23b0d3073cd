#include "coordinator/engine/worker_group.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "comm/channel/local_channel.h"
#include "gtest/gtest.h"
#include "manual_rank.h"

namespace conclave::coordinator {
namespace {

using protocol::MessageType;
using std::chrono::milliseconds;

// A group over in-process channels, with a clock that only the test moves.
class WorkerGroupTest : public testing::Test {
 protected:
  void begin(int32_t ranks, GroupOptions options = {}) {
    options.ranks = ranks;
    auto transport = make_in_process_transport(
        [this, ranks]() -> absl::StatusOr<std::vector<std::unique_ptr<comm::ChannelPeer>>> {
          ++starts_;
          ranks_.clear();
          std::vector<std::unique_ptr<comm::ChannelPeer>> peers;
          for (int32_t rank = 0; rank < ranks + extra_; ++rank) {
            auto [channel, peer] = comm::make_local_channel();
            ranks_.push_back(std::make_unique<ManualRank>(std::move(channel), rank, ranks));
            peers.push_back(std::move(peer));
          }
          return peers;
        },
        [this] { ++stops_; });
    group_ = std::make_unique<WorkerGroup>(std::move(options), std::move(transport), [this] {
      const std::lock_guard lock(mutex_);
      rung_ = true;
      bell_.notify_one();
    });
    group_->start(now_);
  }
  // Joins, configures and readies every rank.
  void make_ready(int32_t ranks, const GroupOptions& options = {}) {
    begin(ranks, options);
    for (int32_t rank = 0; rank < ranks; ++rank) rank_at(rank).send_join();
    poll_until([&] { return group_->state() == GroupState::kLoading; });
    for (int32_t rank = 0; rank < ranks; ++rank) {
      rank_at(rank).expect_configure();
      rank_at(rank).send_ready();
    }
    poll_until([&] { return group_->state() == GroupState::kReady; });
    ASSERT_EQ(events_.size(), 1u);
    events_.clear();
  }
  void poll() {
    for (GroupEvent& event : group_->poll(now_)) events_.push_back(std::move(event));
  }
  template <typename Condition>
  void poll_until(Condition condition) {
    const auto give_up = SteadyClock::now() + std::chrono::seconds(20);
    poll();
    while (!condition() && SteadyClock::now() < give_up) {
      std::unique_lock lock(mutex_);
      bell_.wait_for(lock, milliseconds(20), [this] { return std::exchange(rung_, false); });
      lock.unlock();
      poll();
    }
    ASSERT_TRUE(condition()) << "state " << group_state_name(group_->state()) << ", "
                             << group_->last_failure();
  }
  void poll_until_failed() {
    poll_until([&] { return group_->state() == GroupState::kFailed; });
  }
  void expect_sentence(const std::vector<std::string>& parts) {
    for (const std::string& part : parts) {
      EXPECT_TRUE(absl::StrContains(group_->last_failure(), part))
          << "'" << part << "' in: " << group_->last_failure();
    }
  }
  // Health of this step has arrived.
  void send_health_and_wait(int32_t rank, int64_t step, int32_t layer, const std::string& operation,
                            double age) {
    rank_at(rank).send_health(step, layer, operation, age);
    poll_until([&] {
      return group_->rank_status(now_)[static_cast<size_t>(rank)].operation_age_seconds == age;
    });
  }
  ManualRank& rank_at(int32_t rank) { return *ranks_[static_cast<size_t>(rank)]; }
  void advance(milliseconds duration) { now_ += duration; }
  protocol::StepPlan plan(int64_t step) {
    protocol::StepPlan plan;
    plan.step = step;
    plan.deadline_ms = 5000;
    return plan;
  }

  SteadyClock::time_point now_ = SteadyClock::time_point(std::chrono::hours(1));
  int extra_ = 0;  // connections beyond the ranks
  int starts_ = 0, stops_ = 0;
  std::vector<std::unique_ptr<ManualRank>> ranks_;
  std::vector<GroupEvent> events_;
  std::mutex mutex_;
  std::condition_variable bell_;
  bool rung_ = false;
  std::unique_ptr<WorkerGroup> group_;
};

TEST_F(WorkerGroupTest, ConfiguresWhenAllHaveJoinedInAnyOrder) {
  GroupOptions options;
  options.configure.model_path = "/models/m";
  begin(3, options);
  rank_at(1).join().host = rank_at(0).join().host;
  rank_at(1).join().kernel_sets = {"reference"};
  for (const int32_t rank : {2, 0, 1}) {
    EXPECT_EQ(group_->state(), GroupState::kStarting);
    rank_at(rank).send_join();
    poll_until([&] { return group_->rank_status(now_)[static_cast<size_t>(rank)].connected; });
  }
  EXPECT_EQ(group_->state(), GroupState::kLoading);
  const protocol::Configure first = rank_at(0).expect_configure(),
                            second = rank_at(1).expect_configure(),
                            third = rank_at(2).expect_configure();
  EXPECT_EQ(first.model_path, "/models/m");
  EXPECT_EQ(first.kernel_set, "reference");
  EXPECT_EQ(first.threads, 2);
  EXPECT_EQ(first.first_core, 0);
  EXPECT_EQ(second.first_core, 2);
  EXPECT_EQ(third.threads, 4);
  EXPECT_EQ(third.first_core, 0);
}

TEST_F(WorkerGroupTest, IsReadyWhenEveryRankIs) {
  begin(2);
  rank_at(0).send_join();
  rank_at(1).send_join();
  poll_until([&] { return group_->state() == GroupState::kLoading; });
  rank_at(1).send(MessageType::kLoadProgress, protocol::encode(protocol::LoadProgress{5, 10}));
  rank_at(1).send_ready(12);
  poll_until([&] { return group_->rank_status(now_)[1].kv_blocks == 12; });
  EXPECT_EQ(group_->rank_status(now_)[1].load_bytes_done, 5u);
  EXPECT_EQ(group_->state(), GroupState::kLoading);
  rank_at(0).send_ready(9);
  poll_until([&] { return group_->state() == GroupState::kReady; });
  const auto& ready = std::get<GroupReady>(events_.at(0));
  EXPECT_EQ(ready.ranks[0].kv_blocks, 9);
  EXPECT_EQ(ready.kernel_set, "cpu-avx2");
}

TEST_F(WorkerGroupTest, RefusesStrangersAndStaysUp) {
  extra_ = 4;
  begin(2);
  rank_at(0).send_join();
  poll_until([&] { return group_->rank_status(now_)[0].connected; });
  rank_at(2).join().rank = 0;  // a second rank 0
  rank_at(3).join().rank = 1;
  rank_at(3).join().size = 5;  // of a bigger group
  rank_at(4).join().rank = 1;
  rank_at(4).join().group = 9;
  for (int32_t stranger = 2; stranger < 5; ++stranger) {
    rank_at(stranger).send_join();
    poll_until(
        [&] { return absl::StrContains(group_->last_refusal(), rank_at(stranger).join().host); });
  }
  EXPECT_TRUE(absl::StrContains(group_->last_refusal(), "belongs to group 9, this is group 0"));
  rank_at(5).send(MessageType::kHealth, protocol::encode(protocol::Health{}));
  for (int32_t stranger = 2; stranger < 6; ++stranger) {
    poll_until([] { return true; });
    rank_at(stranger).expect(MessageType::kShutdown);
    EXPECT_TRUE(rank_at(stranger).expect_closed());
    if (stranger == 4)
      poll_until([&] { return absl::StrContains(group_->last_refusal(), "not a Join"); });
  }
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(group_->last_failure(), "");
  rank_at(1).send_join();
  poll_until([&] { return group_->state() == GroupState::kLoading; });
}

TEST_F(WorkerGroupTest, NamesTheRanksThatDidNotJoin) {
  GroupOptions options;
  options.join_timeout = milliseconds(3000);
  begin(3, options);
  rank_at(1).send_join();
  poll_until([&] { return group_->rank_status(now_)[1].connected; });
  advance(milliseconds(3001));
  poll_until_failed();
  expect_sentence({"rank 0, 2 of 3 did not join within 3.0 s"});
}

TEST_F(WorkerGroupTest, FailsWhenNoKernelSetIsShared) {
  begin(2);
  rank_at(0).join().kernel_sets = {"a"};
  rank_at(1).join().kernel_sets = {"b"};
  rank_at(0).send_join();
  rank_at(1).send_join();
  poll_until_failed();
  expect_sentence({"no kernel set", "a"});
}

TEST_F(WorkerGroupTest, FailsWhenAnOverrideIsMissingSomewhere) {
  GroupOptions options;
  options.configure.kernel_set = "cpu-avx512";
  begin(1, options);
  rank_at(0).send_join();
  poll_until_failed();
  expect_sentence({"cpu-avx512", "rank 0", "host0", "cpu-avx2, reference"});
}

TEST_F(WorkerGroupTest, FailsWhenRanksHaveLoadedDifferentModels) {
  begin(2);
  rank_at(0).send_join();
  rank_at(1).send_join();
  poll_until([&] { return group_->state() == GroupState::kLoading; });
  rank_at(0).send_ready(8, "one");
  rank_at(1).send_ready(8, "two");
  poll_until_failed();
  expect_sentence({"rank 1", "two", "one"});
}

TEST_F(WorkerGroupTest, FailsWhenARankFallsSilentWhileLoading) {
  GroupOptions options;
  options.load_timeout = milliseconds(2000);
  begin(1, options);
  rank_at(0).send_join();
  poll_until([&] { return group_->state() == GroupState::kLoading; });
  advance(milliseconds(2001));
  poll_until_failed();
  expect_sentence({"rank 0 (host host0, pid 1000)", "no further with loading"});
}

TEST_F(WorkerGroupTest, FailsWhenHeartbeatsStopWhileLoading) {
  GroupOptions options;
  options.heartbeat_timeout = milliseconds(100);
  begin(1, options);
  rank_at(0).send_join();
  poll_until([&] { return group_->state() == GroupState::kLoading; });
  send_health_and_wait(0, -1, -1, "loading", 0.125);
  advance(milliseconds(399));
  poll();
  EXPECT_EQ(group_->state(), GroupState::kLoading);
  advance(milliseconds(2));
  poll_until_failed();
  expect_sentence({"rank 0 (host host0, pid 1000)", "no heartbeat", "while loading"});
}

TEST_F(WorkerGroupTest, WakesTheOthersOnlyAfterASleep) {
  make_ready(2);
  EXPECT_TRUE(group_->asleep());
  for (int64_t step = 1; step <= 2; ++step) {
    group_->send_plan(plan(step), now_);
    EXPECT_EQ(rank_at(0).expect_plan().step, step);
    rank_at(0).send_result(step);
    poll_until([&] { return events_.size() == static_cast<size_t>(step); });
    EXPECT_FALSE(group_->step_in_flight());
  }
  rank_at(1).expect(MessageType::kWake);
  group_->send_sleep(3, now_);
  EXPECT_TRUE(rank_at(0).expect_plan().sleep);
  group_->send_plan(plan(4), now_);
  rank_at(1).expect(MessageType::kWake);  // and none in between
  EXPECT_EQ(rank_at(0).expect_plan().step, 4);
  EXPECT_EQ(std::get<GroupResult>(events_[1]).result.step, 2);
}

TEST_F(WorkerGroupTest, AClosedConnectionNamesRankHostLayerOperationAndAge) {
  make_ready(2);
  group_->send_plan(plan(7), now_);
  send_health_and_wait(1, 7, 3, "dispatch", 0.25);
  advance(milliseconds(500));
  rank_at(1).close();
  poll_until_failed();
  expect_sentence({"rank 1", "host1", "pid 1001", "step 7", "layer 3", "'dispatch'", "0.75 s"});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(std::get<GroupFailed>(events_[0]).why.message(), group_->last_failure());
  EXPECT_EQ(stops_, 1);
  EXPECT_TRUE(rank_at(0).expect_closed());
}

TEST_F(WorkerGroupTest, ARankLostBeforeItsHeartbeatIsPlacedByThoseWhoMissIt) {
  make_ready(2);
  group_->send_plan(plan(7), now_);
  rank_at(1).close();
  rank_at(0).send_health(7, 4, "combine", 0.125);
  poll_until_failed();
  expect_sentence({"rank 1 (host host1", "step 7", "rank 0 (host host0", "misses it in layer 4", "'combine'", "0.1"});
}

TEST_F(WorkerGroupTest, WithoutAWitnessTheLastHeartbeatSaysWhereALostRankWas) {
  make_ready(2);
  send_health_and_wait(1, 6, 2, "attention", 0.125);
  group_->send_plan(plan(7), now_);
  rank_at(1).close();
  poll_until([&] { return !group_->rank_status(now_)[1].connected; });
  advance(milliseconds(protocol::kHealthPeriodMs + 50));
  poll_until_failed();
  expect_sentence({"rank 1 (host host1", "step 7", "step 6, layer 2, operation 'attention'"});
}

TEST_F(WorkerGroupTest, WithoutAWitnessALostRankIsNamedWithinAHeartbeatPeriod) {
  make_ready(2);
  group_->send_plan(plan(7), now_);
  rank_at(1).close();
  poll_until([&] { return !group_->rank_status(now_)[1].connected; });
  EXPECT_EQ(group_->state(), GroupState::kReady);
  advance(milliseconds(protocol::kHealthPeriodMs + 50));
  poll_until_failed();
  expect_sentence({"rank 1 (host host1", "step 7", "before any heartbeat"});
}

TEST_F(WorkerGroupTest, AFailureMessageIsTheSentence) {
  make_ready(2);
  rank_at(0).send(MessageType::kFailure,
                  protocol::encode(protocol::Failure{"rank 0 lost rank 1 in layer 2"}));
  poll_until_failed();
  EXPECT_EQ(group_->last_failure(), "rank 0 lost rank 1 in layer 2");
}

TEST_F(WorkerGroupTest, MissingHeartbeatsAreAFailure) {
  make_ready(2);
  advance(milliseconds(1400));
  poll();
  EXPECT_EQ(group_->state(), GroupState::kReady);
  EXPECT_LE(group_->next_wake(now_), now_ + milliseconds(101));
  send_health_and_wait(0, 2, 1, "attention", 0.1);
  advance(milliseconds(200));
  poll_until_failed();
  expect_sentence({"rank 1 (host host1, pid 1001)", "no heartbeat for 1.6 s"});
}

TEST_F(WorkerGroupTest, AStepPastItsDeadlineNamesTheRankThatIsFurthestBehind) {
  make_ready(2);
  group_->send_plan(plan(4), now_);
  for (int i = 0; i < 6; ++i) {
    advance(milliseconds(999));
    send_health_and_wait(0, 4, 6, "combine", 1.0 + i);
    send_health_and_wait(1, 4, 5, "expert ffn", 1.5 + i);
    ASSERT_EQ(group_->state(), GroupState::kReady);
  }
  advance(milliseconds(7));
  poll_until_failed();
  expect_sentence({"step 4", "deadline", "rank 1", "layer 5", "'expert ffn'"});
}

TEST_F(WorkerGroupTest, ThePlanThatWaitsBehindAnotherHasItsOwnDeadline) {
  make_ready(1);
  group_->send_plan(plan(4), now_);
  advance(milliseconds(1000));
  group_->send_plan(plan(5), now_);
  EXPECT_EQ(rank_at(0).expect_plan().step, 4);
  EXPECT_EQ(rank_at(0).expect_plan().step, 5);
  for (int i = 0; i < 4; ++i) {
    send_health_and_wait(0, 4, 1, "attention", 0.125 * (i + 1));
    advance(milliseconds(1000));
  }
  rank_at(0).send_result(4);
  poll_until([&] { return !events_.empty(); });
  EXPECT_DOUBLE_EQ(std::get<GroupResult>(events_[0]).seconds, 5.0);
  EXPECT_TRUE(group_->step_in_flight());
  for (int i = 0; i < 5; ++i) {
    advance(milliseconds(1000));
    send_health_and_wait(0, 5, 6, "combine", 0.125 * (i + 1));
    ASSERT_EQ(group_->state(), GroupState::kReady) << "6 s from the end of the step before";
  }
  EXPECT_LE(group_->next_wake(now_), now_ + milliseconds(1000));
  advance(milliseconds(1001));
  poll_until_failed();
  expect_sentence({"step 5", "deadline (6.0 s so far)", "rank 0", "layer 6", "'combine'"});
  EXPECT_FALSE(group_->step_in_flight());
}

TEST_F(WorkerGroupTest, OfTwoPlansInFlightTheFirstIsNamed) {
  make_ready(2);
  group_->send_plan(plan(4), now_);
  group_->send_plan(plan(5), now_);
  send_health_and_wait(1, 4, 3, "dispatch", 0.25);
  rank_at(1).close();
  poll_until_failed();
  expect_sentence({"rank 1 (host host1", "step 4, layer 3", "'dispatch'"});
}

TEST_F(WorkerGroupTest, APlanSentAheadToARankThatHasJustEndedHidesNoSentence) {
  make_ready(1);
  group_->send_plan(plan(4), now_);
  send_health_and_wait(0, 4, 3, "attention", 0.25);
  rank_at(0).close();
  group_->send_plan(plan(5), now_);
  EXPECT_EQ(group_->state(), GroupState::kReady);
  poll_until_failed();
  expect_sentence(
      {"rank 0 (host host0", "closed its connection", "step 4, layer 3", "'attention'"});
}

TEST_F(WorkerGroupTest, StepTimesOfPlansInARowDoNotOverlap) {
  make_ready(1);
  group_->send_plan(plan(1), now_);
  group_->send_plan(plan(2), now_);
  for (int64_t step = 1; step <= 2; ++step) {
    advance(milliseconds(500));
    rank_at(0).send_result(step);
    poll_until([&] { return events_.size() == static_cast<size_t>(step); });
    EXPECT_DOUBLE_EQ(std::get<GroupResult>(events_.back()).seconds, 0.5);
  }
  EXPECT_FALSE(group_->step_in_flight());
}

TEST_F(WorkerGroupTest, ALaunchedProgramThatEndsAtOnceIsAFailureWithItsStatus) {
  // poll_exit() of a transport whose processes are gone, before anyone has joined.
  class Ended : public GroupTransport {
   public:
    absl::Status start(OnConnection) override { return absl::OkStatus(); }
    void stop() override {}
    std::optional<std::string> poll_exit() override { return "mpirun exited with status 3"; }
    bool can_restart() const override { return false; }
  };
  group_ = std::make_unique<WorkerGroup>(GroupOptions{}, std::make_unique<Ended>(), [] {});
  group_->start(now_);
  poll();
  EXPECT_EQ(group_->state(), GroupState::kFailed);
  expect_sentence({"ended while starting", "mpirun exited with status 3"});
  EXPECT_TRUE(std::get<GroupFailed>(events_.at(0)).final);
}

TEST_F(WorkerGroupTest, UnexpectedFramesAreAFailureNotACrash) {
  const std::vector<std::byte> rubbish(3, std::byte{0xff});
  for (const auto type :
       {MessageType::kResult, MessageType::kReady, MessageType::kHealth, MessageType::kLoadProgress,
        MessageType::kFailure, MessageType::kJoin, static_cast<MessageType>(999)}) {
    events_.clear();
    make_ready(1);
    rank_at(0).send(type, rubbish);
    poll_until_failed();
    expect_sentence({"rank 0"});
  }
}

TEST_F(WorkerGroupTest, RestartsWithBackOffAndServesAgain) {
  make_ready(1);
  milliseconds expected(200);
  for (int round = 1; round <= 7; ++round) {
    rank_at(0).close();
    poll_until_failed();
    EXPECT_EQ(starts_, round);
    advance(expected - milliseconds(1));
    poll();
    EXPECT_EQ(group_->state(), GroupState::kFailed);
    advance(milliseconds(1));
    poll();
    EXPECT_EQ(group_->state(), GroupState::kStarting);
    EXPECT_EQ(group_->restarts(), round);
    expected = std::min(expected * 2, milliseconds(5000));
    rank_at(0).send_join();
    poll_until([&] { return group_->state() == GroupState::kLoading; });
    rank_at(0).expect_configure();
    rank_at(0).send_ready();
    poll_until([&] { return group_->state() == GroupState::kReady; });
  }
  group_->send_plan(plan(50), now_);
  EXPECT_EQ(rank_at(0).expect_plan().step, 50);
}

TEST_F(WorkerGroupTest, ShutDownTellsTheRanksAndEnds) {
  make_ready(2);
  group_->shut_down(now_);
  for (int32_t rank = 0; rank < 2; ++rank) {
    rank_at(rank).expect(MessageType::kShutdown);
    rank_at(rank).send(MessageType::kBye);
    rank_at(rank).close();
  }
  poll_until([&] { return group_->state() == GroupState::kStopped; });
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(stops_, 1);
}

TEST_F(WorkerGroupTest, ShutDownDoesNotWaitForEverForADeafRank) {
  make_ready(1);
  group_->shut_down(now_);
  poll();
  EXPECT_NE(group_->state(), GroupState::kStopped);
  advance(milliseconds(2001));
  poll_until([&] { return group_->state() == GroupState::kStopped; });
}

}  // namespace
}  // namespace conclave::coordinator
