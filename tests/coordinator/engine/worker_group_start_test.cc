// Groups whose processes are started here and die, or refuse, before they were ever ready.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/channel/local_channel.h"
#include "coordinator/engine/worker_group.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "manual_rank.h"

namespace conclave::coordinator {
namespace {

using protocol::MessageType;
using std::chrono::milliseconds;
using StartFailure = EngineStatus::StartFailure;
using testing::HasSubstr;

// What a launcher knows, as the test says it.
struct Launch {
  int starts = 0;
  bool stopped = false;
  absl::Status start_status;
  std::optional<std::string> exit;
  std::optional<RankEnd> rank_end;
  std::string words;
  std::vector<std::unique_ptr<ManualRank>> ranks;
};

class LaunchedTransport : public GroupTransport {
 public:
  LaunchedTransport(Launch* launch, int32_t ranks) : launch_(launch), ranks_(ranks) {}
  absl::Status start(OnConnection on_connection) override {
    ++launch_->starts;
    launch_->stopped = false;
    launch_->exit.reset();
    launch_->rank_end.reset();
    if (!launch_->start_status.ok()) return launch_->start_status;
    launch_->ranks.clear();
    for (int32_t rank = 0; rank < ranks_; ++rank) {
      auto [channel, peer] = comm::make_local_channel();
      launch_->ranks.push_back(std::make_unique<ManualRank>(std::move(channel), rank, ranks_));
      on_connection(std::move(peer));
    }
    return absl::OkStatus();
  }
  void stop() override { launch_->stopped = true; }
  std::optional<std::string> poll_exit() override {
    return launch_->stopped && !launch_->exit
               ? std::optional<std::string>("mpirun exited with status 1")
               : launch_->exit;
  }
  bool can_restart() const override { return true; }
  bool has_processes() const override { return true; }
  std::optional<RankEnd> rank_end() override { return launch_->rank_end; }
  std::string last_words() override { return launch_->words; }

 private:
  Launch* launch_;
  int32_t ranks_;
};

class WorkerGroupStartTest : public testing::Test {
 protected:
  void begin(int32_t ranks, int32_t attempts) {
    GroupOptions options;
    options.ranks = ranks;
    options.start_attempts = attempts;
    group_ = std::make_unique<WorkerGroup>(
        options, std::make_unique<LaunchedTransport>(&launch_, ranks), [] {});
    group_->start(now_);
  }
  template <typename Condition>
  void poll_until(Condition condition) {
    const auto give_up = SteadyClock::now() + std::chrono::seconds(20);
    do {
      for (GroupEvent& event : group_->poll(now_)) events_.push_back(std::move(event));
    } while (!condition() && SteadyClock::now() < give_up);
    ASSERT_TRUE(condition()) << group_state_name(group_->state()) << ", " << group_->last_failure();
  }
  void poll_until_state(GroupState state) {
    poll_until([&] { return group_->state() == state; });
  }
  void load(int32_t ranks) {
    for (int32_t rank = 0; rank < ranks; ++rank) rank_at(rank).send_join();
    poll_until_state(GroupState::kLoading);
  }
  void restart() {
    now_ += milliseconds(10000);
    poll_until_state(GroupState::kStarting);
  }
  ManualRank& rank_at(int32_t rank) { return *launch_.ranks[static_cast<size_t>(rank)]; }

  SteadyClock::time_point now_ = SteadyClock::time_point(std::chrono::hours(1));
  Launch launch_;
  std::vector<GroupEvent> events_;
  std::unique_ptr<WorkerGroup> group_;
};

TEST_F(WorkerGroupStartTest, ARankThatDiesBeforeItJoinsIsNamed) {
  begin(2, 3);
  launch_.rank_end = RankEnd{1, "north", "was killed by signal 9 (Killed)"};
  launch_.exit = "mpirun exited with status 137";
  poll_until_state(GroupState::kFailed);
  for (const char* part : {"rank 1 (host north)", "signal 9 (Killed)", "starting",
                           "before it had joined", "status 137"})
    EXPECT_THAT(group_->last_failure(), HasSubstr(part));
  EXPECT_EQ(group_->start_failure(), StartFailure::kNone) << "it is started again";
  restart();
  EXPECT_EQ(launch_.starts, 2);
}

TEST_F(WorkerGroupStartTest, ARankThatDiesWhileLoadingIsNamedWithItsSignalAndHowFarItWas) {
  begin(2, 3);
  load(2);
  rank_at(1).send(MessageType::kLoadProgress,
                  protocol::encode(protocol::LoadProgress{3u << 20, 8u << 20}));
  poll_until([&] { return group_->rank_status(now_)[1].load_bytes_done > 0; });
  rank_at(1).close();
  poll_until([&] { return !group_->rank_status(now_)[1].connected; });
  EXPECT_EQ(group_->state(), GroupState::kLoading) << "its launcher will say how it ended";
  launch_.rank_end = RankEnd{1, "host1", "was killed by signal 9 (Killed)"};
  poll_until_state(GroupState::kFailed);
  for (const char* part : {"rank 1 (host host1, pid 1001)", "was killed by signal 9",
                           "while loading the model (3 of 8 MiB read)"})
    EXPECT_THAT(group_->last_failure(), HasSubstr(part));
}

TEST_F(WorkerGroupStartTest, ALauncherThatSaysNothingIsNotWaitedForLong) {
  begin(1, 3);
  load(1);
  rank_at(0).close();
  poll_until([&] { return !group_->rank_status(now_)[0].connected; });
  now_ += milliseconds(3000);
  poll_until_state(GroupState::kFailed);
  EXPECT_THAT(group_->last_failure(),
              HasSubstr("rank 0 (host host0, pid 1000) closed its connection while loading"));
}

TEST_F(WorkerGroupStartTest, ALauncherThatHangsAfterADeathIsNotWaitedFor) {
  begin(2, 3);
  launch_.rank_end = RankEnd{1, "north", "was killed by signal 9 (Killed)"};
  poll_until_state(GroupState::kFailed);
  EXPECT_THAT(group_->last_failure(), HasSubstr("rank 1 (host north) was killed by signal 9"));
  EXPECT_TRUE(launch_.stopped);
  restart();
}

TEST_F(WorkerGroupStartTest, DeathsAreRetriedAndThenGivenUp) {
  begin(1, 3);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    EXPECT_EQ(group_->start_attempts(), attempt);
    launch_.words = "no slots";
    launch_.exit = "mpirun exited with status 1";
    poll_until_state(GroupState::kFailed);
    EXPECT_THAT(group_->last_failure(),
                HasSubstr("mpirun exited with status 1; it said: no slots"));
    EXPECT_EQ(group_->start_failure(), attempt < 3 ? StartFailure::kNone : StartFailure::kDied);
    if (attempt < 3) restart();
  }
  EXPECT_TRUE(std::get<GroupFailed>(events_.back()).final);
  now_ += milliseconds(60000);
  poll_until([] { return true; });
  EXPECT_EQ(launch_.starts, 3);
}

TEST_F(WorkerGroupStartTest, ARefusalIsNotRetried) {
  begin(2, 3);
  load(2);
  rank_at(0).send(MessageType::kFailure, protocol::encode(protocol::Failure{
                                             "rank 0 (host host0): load: no such model", true}));
  poll_until_state(GroupState::kFailed);
  EXPECT_EQ(group_->start_failure(), StartFailure::kRefused);
  EXPECT_EQ(group_->last_failure(), "rank 0 (host host0): load: no such model");
}

TEST_F(WorkerGroupStartTest, AFailureThatIsNoRefusalIsRetried) {
  begin(1, 2);
  load(1);
  rank_at(0).send(MessageType::kFailure,
                  protocol::encode(protocol::Failure{"rank 0 (host host0): lost rank 1"}));
  poll_until_state(GroupState::kFailed);
  EXPECT_EQ(group_->start_failure(), StartFailure::kNone);
  restart();
}

TEST_F(WorkerGroupStartTest, AProgramThatCannotBeExecutedIsARefusal) {
  launch_.start_status =
      absl::NotFoundError("cannot execute mpirun: No such file or directory; install Open MPI");
  begin(1, 3);
  EXPECT_EQ(group_->state(), GroupState::kFailed);
  EXPECT_EQ(group_->start_failure(), StartFailure::kRefused);
  EXPECT_THAT(group_->last_failure(), HasSubstr("install Open MPI"));
}

TEST_F(WorkerGroupStartTest, OnceConfirmedNothingIsGivenUp) {
  begin(1, 1);
  load(1);
  rank_at(0).expect_configure();
  rank_at(0).send_ready();
  poll_until_state(GroupState::kReady);
  group_->confirm();
  for (int round = 0; round < 3; ++round) {
    launch_.exit = "mpirun exited with status 1";
    poll_until_state(GroupState::kFailed);
    EXPECT_EQ(group_->start_failure(), StartFailure::kNone);
    restart();
  }
  load(1);
  rank_at(0).send(MessageType::kFailure,
                  protocol::encode(protocol::Failure{"the model is gone", true}));
  poll_until_state(GroupState::kFailed);
  EXPECT_EQ(group_->start_failure(), StartFailure::kNone) << "it may come back";
}

}  // namespace
}  // namespace conclave::coordinator
