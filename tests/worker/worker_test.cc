// run_worker() against a coordinator played by the test: join, configure, plans, sleep, failure, loss.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "comm/channel/local_channel.h"
#include "comm/local/local_communicator.h"
#include "protocol/messages.h"
#include "tests/support/fake_device_context.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"
#include "worker/local_group.h"

namespace conclave::worker {
namespace {

using protocol::MessageType;
using testing::AllOf;
using testing::HasSubstr;

// The coordinator's end of one rank's channel, as a queue to wait on.
class Inbox {
 public:
  explicit Inbox(std::unique_ptr<comm::ChannelPeer> peer) : peer_(std::move(peer)) {
    peer_->start({[this](comm::Frame frame) { push(std::move(frame)); },
                  [this](absl::Status) { push({}); }});
  }
  ~Inbox() { peer_->close(); }

  // The next frame of the type, passing over progress and health reports; type 0: closed.
  comm::Frame wait(MessageType type) {
    std::unique_lock lock(mutex_);
    while (true) {
      if (!arrived_.wait_for(lock, std::chrono::seconds(60), [this] { return !frames_.empty(); })) {
        ADD_FAILURE() << "no frame of type " << static_cast<int>(type);
        return {};
      }
      comm::Frame frame = std::move(frames_.front());
      frames_.pop_front();
      const auto got = static_cast<MessageType>(frame.type);
      if (got == type || frame.type == 0) return frame;
      if (got != MessageType::kHealth && got != MessageType::kLoadProgress) {
        ADD_FAILURE() << "got a frame of type " << frame.type << " instead of "
                      << static_cast<int>(type);
        return frame;
      }
    }
  }
  std::string wait_failure() {
    auto failure = protocol::decode_failure(wait(MessageType::kFailure).payload);
    return failure.ok() ? failure->message : failure.status().ToString();
  }
  void send(MessageType type, std::vector<std::byte> payload = {}) {
    EXPECT_TRUE(peer_->send(static_cast<uint16_t>(type), std::move(payload)).ok());
  }
  void close() { peer_->close(); }

 private:
  void push(comm::Frame frame) {
    {
      std::lock_guard lock(mutex_);
      frames_.push_back(std::move(frame));
    }
    arrived_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<comm::Frame> frames_;
  std::unique_ptr<comm::ChannelPeer> peer_;  // last: its callbacks use the rest
};

protocol::Configure small_configuration() {
  protocol::Configure configure;
  configure.model_path = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/mixtral";
  configure.kernel_set = "reference";
  configure.compute = ComputeType::kF32;
  configure.kv_blocks = 16;
  configure.max_step_tokens = 32;
  configure.max_model_len = 128;
  return configure;
}

protocol::StepPlan one_token_plan(int64_t step, int32_t home, int32_t deadline_ms = 20000) {
  protocol::StepPlan plan;
  plan.step = step;
  plan.deadline_ms = deadline_ms;
  const int32_t token[] = {5};
  plan.chunks.push_back(make_chunk(1, token, 0, {0}));
  plan.chunks[0].home_rank = home;
  plan.chunks[0].sample = true;
  return plan;
}

protocol::StepPlan sleep_plan() {
  protocol::StepPlan plan;
  plan.sleep = true;
  return plan;
}

class WorkerTest : public testing::Test {
 protected:
  ~WorkerTest() override {
    inboxes_.clear();
    group_.reset();
    unsetenv("CONCLAVE_FAULT");
  }
  void start(int ranks, const char* fault = "") {
    setenv("CONCLAVE_FAULT", fault, 1);
    group_ = LocalWorkerGroup::start(ranks, &kernels_, /*group=*/3);
    for (auto& peer : group_->take_peers()) inboxes_.push_back(std::make_unique<Inbox>(std::move(peer)));
  }
  void configure(const protocol::Configure& configure) {
    for (auto& inbox : inboxes_) {
      inbox->wait(MessageType::kJoin);
      inbox->send(MessageType::kConfigure, protocol::encode(configure));
    }
  }
  void wait_ready() {
    for (auto& inbox : inboxes_) inbox->wait(MessageType::kReady);
  }
  Inbox& rank(size_t index) { return *inboxes_[index]; }
  void send_plan(const protocol::StepPlan& plan) {
    rank(0).send(MessageType::kPlan, protocol::encode(plan));
  }
  absl::StatusOr<protocol::StepResult> wait_result() {
    return protocol::decode_step_result(rank(0).wait(MessageType::kResult).payload);
  }

  TestKernelSets kernels_;
  std::unique_ptr<LocalWorkerGroup> group_;
  std::vector<std::unique_ptr<Inbox>> inboxes_;
};

TEST_F(WorkerTest, JoinSaysWhoTheRankIsAndWhatItHas) {
  start(2);
  auto join = protocol::decode_join(rank(1).wait(MessageType::kJoin).payload);
  ASSERT_TRUE(join.ok()) << join.status();
  EXPECT_EQ(join->group, 3u);
  EXPECT_EQ(join->rank, 1);
  EXPECT_EQ(join->size, 2);
  EXPECT_EQ(join->host, "localhost");
  EXPECT_GE(join->cores, 1);
  EXPECT_GT(join->memory_available_bytes, 0u);
  EXPECT_EQ(join->kernel_sets, kernels_.available());
}

TEST_F(WorkerTest, ReadyReportsWhatWasLoaded) {
  start(2);
  configure(small_configuration());
  auto ready = protocol::decode_ready(rank(0).wait(MessageType::kReady).payload);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->kv_blocks, 16);
  EXPECT_GT(ready->kv_bytes, 0u);
  EXPECT_GT(ready->weight_bytes, 0u);
  EXPECT_FALSE(ready->model_fingerprint.empty());
}

TEST_F(WorkerTest, RunsPlansSleepsWakesAndShutsDown) {
  start(2);
  configure(small_configuration());
  wait_ready();
  for (int period = 0; period < 2; ++period) {
    rank(1).send(MessageType::kWake);
    for (int32_t home = 0; home < 2; ++home) {
      send_plan(one_token_plan(10 * period + home, home));
      auto result = wait_result();
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->step, 10 * period + home);
      ASSERT_EQ(result->sequences.size(), 1u);
      EXPECT_TRUE(result->sequences[0].sampled);
      ASSERT_EQ(result->ranks.size(), 2u);
      EXPECT_EQ(result->ranks[static_cast<size_t>(home)].tokens, 1);
      EXPECT_EQ(result->ranks[static_cast<size_t>(1 - home)].tokens, 0);
    }
    send_plan(sleep_plan());
  }
  for (auto& inbox : inboxes_) inbox->send(MessageType::kShutdown);
  EXPECT_THAT(group_->join(), testing::Each(absl::OkStatus()));
}

TEST_F(WorkerTest, ShutdownOfAnAwakeGroupEndsEveryRank) {
  start(3);
  configure(small_configuration());
  wait_ready();
  for (size_t r = 1; r < 3; ++r) rank(r).send(MessageType::kWake);
  send_plan(one_token_plan(0, 2));
  ASSERT_TRUE(wait_result().ok());
  for (auto& inbox : inboxes_) inbox->send(MessageType::kShutdown);
  EXPECT_THAT(group_->join(), testing::Each(absl::OkStatus()));
}

TEST_F(WorkerTest, ShutdownBeforeConfigureEndsTheRank) {
  start(1);
  rank(0).wait(MessageType::kJoin);
  rank(0).send(MessageType::kShutdown);
  EXPECT_THAT(group_->join(), testing::Each(absl::OkStatus()));
}

TEST_F(WorkerTest, EndsWhenTheCoordinatorGoesAwayWhileTheGroupIsAwake) {
  start(2);
  configure(small_configuration());
  wait_ready();
  rank(1).send(MessageType::kWake);
  send_plan(one_token_plan(0, 0));
  ASSERT_TRUE(wait_result().ok());
  for (auto& inbox : inboxes_) inbox->close();
  EXPECT_THAT(group_->join(), testing::Each(absl::OkStatus()));
}

TEST_F(WorkerTest, AMissingModelIsAFailureThatNamesRankAndPath) {
  start(1);
  protocol::Configure bad = small_configuration();
  bad.model_path = "/nowhere/at/all";
  configure(bad);
  EXPECT_THAT(rank(0).wait_failure(), AllOf(HasSubstr("rank 0 (host localhost)"), HasSubstr("load"),
                                            HasSubstr("/nowhere/at/all")));
  EXPECT_FALSE(group_->join()[0].ok());
}

TEST_F(WorkerTest, AnUnknownKernelSetIsAFailureThatListsTheChoices) {
  start(1);
  protocol::Configure bad = small_configuration();
  bad.kernel_set = "abacus";
  configure(bad);
  EXPECT_THAT(rank(0).wait_failure(), AllOf(HasSubstr("abacus"), HasSubstr("reference")));
}

TEST_F(WorkerTest, APlanThatCannotRunIsAFailureThatNamesTheSequence) {
  start(1);
  configure(small_configuration());
  wait_ready();
  protocol::StepPlan plan = one_token_plan(4, 0);
  plan.chunks[0].block_ids = {99};
  send_plan(plan);
  EXPECT_THAT(rank(0).wait_failure(),
              AllOf(HasSubstr("rank 0"), HasSubstr("step 4"), HasSubstr("sequence 1"),
                    HasSubstr("block 99 of 16")));
}

TEST_F(WorkerTest, BytesThatAreNoPlanAreAFailure) {
  start(1);
  configure(small_configuration());
  wait_ready();
  rank(0).send(MessageType::kPlan, std::vector<std::byte>(3));
  EXPECT_THAT(rank(0).wait_failure(), HasSubstr("rank 0 (host localhost)"));
}

TEST_F(WorkerTest, WhenARankStopsTheOthersNameItWithHostLayerOperationAndAge) {
  start(2, "error:rank=1,step=5,layer=1");
  configure(small_configuration());
  wait_ready();
  rank(1).send(MessageType::kWake);
  send_plan(one_token_plan(4, 0, 1500));
  ASSERT_TRUE(wait_result().ok());
  send_plan(one_token_plan(5, 0, 1500));
  EXPECT_THAT(rank(1).wait_failure(), AllOf(HasSubstr("rank 1 (host localhost): layer begin of layer 1, step 5"),
                                            HasSubstr("injected fault")));
  EXPECT_THAT(rank(0).wait_failure(),
              AllOf(HasSubstr("rank 0 (host localhost)"), HasSubstr("dispatch of layer 1"),
                    HasSubstr("step 5"), HasSubstr("no data from rank 1 (host localhost)"),
                    HasSubstr("after 1.5")));
}

TEST_F(WorkerTest, HealthReportsWhereAHungRankStands) {
  start(1, "hang:rank=0,step=7,layer=2,seconds=1");
  configure(small_configuration());
  wait_ready();
  send_plan(one_token_plan(7, 0));
  while (true) {
    auto health = protocol::decode_health(rank(0).wait(MessageType::kHealth).payload);
    ASSERT_TRUE(health.ok()) << health.status();
    if (health->step != 7 || health->operation_age_seconds < 0.3) continue;
    EXPECT_EQ(health->layer, 2);
    EXPECT_EQ(health->operation, "layer begin");
    break;
  }
}

// A group on fake devices. Once hold() was called, no step of a single rank ends before so many
// more were enqueued.
class DeviceSets : public TestKernelSets {
 public:
  absl::StatusOr<std::unique_ptr<device::Device>> make_device(const std::string& name,
                                                              ComputeType compute,
                                                              int index) override {
    auto device = TestKernelSets::make_device(name, compute, index);
    if (device.ok()) context_ = (*device)->context();
    return device;
  }
  void hold(int64_t steps) {
    context_->deferred = true;
    context_->hold_events = context_->events + steps;
  }

 private:
  device::Context* context_ = nullptr;
};

class DeviceWorkerTest : public WorkerTest {
 protected:
  void start_devices(int ranks) {
    group_ = LocalWorkerGroup::start(ranks, &devices_, /*group=*/3);
    for (auto& peer : group_->take_peers()) {
      inboxes_.push_back(std::make_unique<Inbox>(std::move(peer)));
    }
    protocol::Configure configuration = small_configuration();
    configuration.kernel_set = TestKernelSets::kFakeDevice;
    configure(configuration);
    wait_ready();
    for (size_t r = 1; r < inboxes_.size(); ++r) rank(r).send(MessageType::kWake);
  }
  static protocol::StepPlan decode_plan(int64_t step, int32_t home) {
    protocol::StepPlan plan = one_token_plan(step, home);
    plan.may_be_followed = true;
    plan.chunks[0].start_position = static_cast<int32_t>(step);
    if (step > 0) plan.chunks[0].tokens = {protocol::kPreviousToken};
    return plan;
  }
  int32_t wait_token(int64_t step) {
    auto result = wait_result();
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok() || result->sequences.size() != 1) return -1;
    EXPECT_EQ(result->step, step);
    return result->sequences[0].token;
  }
  // Each plan after the result of the one before.
  std::vector<int32_t> tokens_one_by_one(int32_t home) {
    std::vector<int32_t> tokens;
    for (int64_t step = 0; step < kSteps; ++step) {
      send_plan(decode_plan(step, home));
      tokens.push_back(wait_token(step));
    }
    return tokens;
  }
  static constexpr int64_t kSteps = 12;
  DeviceSets devices_;
};

TEST_F(DeviceWorkerTest, TheNextPlanIsEnqueuedWhileAStepRuns) {
  start_devices(1);
  const std::vector<int32_t> expected = tokens_one_by_one(0);
  std::vector<int32_t> tokens;
  for (int64_t step = 0; step < kSteps; step += 2) {
    devices_.hold(2);  // the first waits for the second to be enqueued
    send_plan(decode_plan(step, 0));
    send_plan(decode_plan(step + 1, 0));
    tokens.push_back(wait_token(step));
    tokens.push_back(wait_token(step + 1));
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(tokens, expected);
}

TEST_F(DeviceWorkerTest, AllRanksRunPlansInOrderHoweverEarlyTheyCome) {
  for (const int32_t home : {0, 1}) {
    start_devices(2);
    const std::vector<int32_t> expected = tokens_one_by_one(home);
    std::vector<int32_t> tokens;
    send_plan(decode_plan(0, home));
    for (int64_t step = 1; step < kSteps; ++step) {
      send_plan(decode_plan(step, home));
      tokens.push_back(wait_token(step - 1));
    }
    tokens.push_back(wait_token(kSteps - 1));
    EXPECT_EQ(tokens, expected);
    send_plan(decode_plan(0, home));  // and a shutdown in the middle
    for (auto& inbox : inboxes_) inbox->send(MessageType::kShutdown);
    EXPECT_THAT(group_->join(), testing::Each(absl::OkStatus()));
    inboxes_.clear();
  }
}

TEST_F(DeviceWorkerTest, SleepAndPromptsMayFollowAStepThatMayBeFollowed) {
  start_devices(2);
  for (int round = 0; round < 3; ++round) {
    send_plan(decode_plan(0, 0));
    send_plan(one_token_plan(7, 1));
    EXPECT_GE(wait_token(0), 0);
    EXPECT_GE(wait_token(7), 0);
    send_plan(decode_plan(0, 0));
    EXPECT_GE(wait_token(0), 0);
    send_plan(sleep_plan());
    if (round < 2) rank(1).send(MessageType::kWake);
  }
  for (auto& inbox : inboxes_) inbox->close();
  EXPECT_THAT(group_->join(), testing::Each(absl::OkStatus()));
}

TEST_F(DeviceWorkerTest, AFaultInAStepAheadLeavesTheResultsBeforeIt) {
  setenv("CONCLAVE_FAULT", "error:rank=0,step=2", 1);
  start_devices(1);
  for (int64_t step = 0; step < 3; ++step) send_plan(decode_plan(step, 0));
  EXPECT_GE(wait_token(0), 0);
  EXPECT_GE(wait_token(1), 0);
  EXPECT_THAT(rank(0).wait_failure(), AllOf(HasSubstr("step 2"), HasSubstr("injected fault")));
}

TEST(WorkerLossTest, AStuckStepIsReportedAsFatalWhenTheCoordinatorIsGone) {
  setenv("CONCLAVE_FAULT", "hang:rank=0,step=1,seconds=4", 1);
  TestKernelSets kernels;
  auto communicators = comm::make_local_communicators(1);
  auto [channel, peer] = comm::make_local_channel();
  std::promise<absl::Status> fatal;
  std::future<absl::Status> told = fatal.get_future();
  WorkerEnvironment environment;
  environment.communicator = communicators[0].get();
  environment.channel = channel.get();
  environment.kernels = &kernels;
  environment.host = "localhost";
  environment.on_fatal = [&fatal](absl::Status status) { fatal.set_value(std::move(status)); };
  std::thread step_thread([&] { EXPECT_FALSE(run_worker(environment).ok()); });
  {
    Inbox inbox(std::move(peer));
    inbox.wait(MessageType::kJoin);
    inbox.send(MessageType::kConfigure, protocol::encode(small_configuration()));
    inbox.wait(MessageType::kReady);
    inbox.send(MessageType::kPlan, protocol::encode(one_token_plan(1, 0)));
    // The first report from inside the step shows that it is stuck by now.
    while (true) {
      auto health = protocol::decode_health(inbox.wait(MessageType::kHealth).payload);
      ASSERT_TRUE(health.ok());
      if (health->step == 1) break;
    }
  }
  EXPECT_EQ(told.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_TRUE(absl::IsUnavailable(told.get()));
  step_thread.join();
  unsetenv("CONCLAVE_FAULT");
}

}  // namespace
}  // namespace conclave::worker
