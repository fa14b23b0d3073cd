// Decode steps that are planned while the one before runs.

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "engine_fixture.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

class EnginePipelineTest : public EngineTest {
 protected:
  static EngineOptions options_for(int32_t ranks) {
    EngineOptions options = EngineTest::options_for(ranks);
    options.pipeline = true;
    return options;
  }
  // Room for a request that is not over before the test thread runs again.
  static constexpr int32_t kLong = 20000;
  void start_with_room() {
    EngineOptions options = options_for(1);
    options.max_model_len = kLong + 1000;
    FakeGroupOptions group;
    group.kv_blocks = 2 * kLong / 16;
    start(options, {group});
  }
  using Requests = std::vector<std::pair<GenerationRequest, std::shared_ptr<Recorder>>>;
  Requests submit_many(int count) {
    Requests requests;
    group().hold();  // so that no group dies before all are accepted
    for (int i = 0; i < count; ++i) {
      requests.emplace_back(request_of(10 + i, 30, 50 * i), std::make_shared<Recorder>());
      submit(requests.back().first, requests.back().second);
    }
    group().let_go();
    return requests;
  }
  static void expect_answers(const Requests& requests) {
    for (const auto& [request, recorder] : requests) {
      EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
      EXPECT_EQ(recorder->tokens(), expected_tokens(request));
      EXPECT_EQ(recorder->ends(), 1);
    }
  }
};

TEST_F(EnginePipelineTest, TokensAreTheSameWithAndWithout) {
  for (const bool pipeline : {true, false}) {
    SCOPED_TRACE(pipeline);
    auto options = options_for(2);
    options.pipeline = pipeline;
    start(options, {FakeGroupOptions{}});
    expect_answers(submit_many(6));
    EXPECT_EQ(group().ahead_rows() > 0, pipeline);
    EXPECT_TRUE(eventually([&] { return engine_->status().kv_blocks_used == 0; }));
    engine_.reset();
  }
}

TEST_F(EnginePipelineTest, AGroupThatDiesWithTwoPlansInFlightLosesAndRepeatsNothing) {
  auto options = options_for(2);
  options.replay_on_failure = true;
  FakeGroupOptions dying;
  dying.die_at_step = 12;
  dying.die_with_next = true;
  start(options, {dying, dying, FakeGroupOptions{}});
  expect_answers(submit_many(5));
  EXPECT_GE(engine_->status().restarts, 1);
}

TEST_F(EnginePipelineTest, WithoutReplayAFailureWithTwoPlansInFlightEndsEachRequestOnce) {
  FakeGroupOptions dying;
  dying.die_at_step = 4;
  dying.die_with_next = true;
  start(options_for(1), {dying, FakeGroupOptions{}});
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(20, 30), recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kError);
  EXPECT_EQ(recorder->tokens().size(), 3u);
  ASSERT_TRUE(eventually([&] { return engine_->status().state == GroupState::kReady; }));
  expect_answers(submit_many(2));
  EXPECT_EQ(recorder->ends(), 1);
}

TEST_F(EnginePipelineTest, ACancelWhileAStepIsAheadEndsTheRequestOnce) {
  start_with_room();
  auto recorder = std::make_shared<Recorder>();
  const SequenceId id = submit(request_of(20, kLong), recorder);
  recorder->wait_for_tokens(3);
  group().hold();
  group().wait_until_holding();
  engine_->cancel(id);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kCancelled);
  const size_t tokens = recorder->tokens().size();
  group().let_go();
  expect_answers(submit_many(2));
  EXPECT_EQ(recorder->tokens().size(), tokens);
  EXPECT_TRUE(eventually([&] { return engine_->status().kv_blocks_used == 0; }));
}

TEST_F(EnginePipelineTest, AnArrivalWhileStepsAreInFlightGetsItsOwnTokens) {
  start_with_room();
  auto first = std::make_shared<Recorder>();
  submit(request_of(20, kLong), first);
  first->wait_for_tokens(3);
  group().hold();
  group().wait_until_holding();
  auto second = std::make_shared<Recorder>();
  submit(request_of(5, 1, 300), second);
  // It is in the engine, so no further plan goes ahead of it.
  ASSERT_TRUE(eventually([&] { return engine_->requests(std::chrono::seconds(20))->size() == 2; }));
  group().let_go();
  EXPECT_EQ(second->wait().reason, FinishReason::kLength);
  EXPECT_EQ(second->tokens(), expected_tokens(request_of(5, 1, 300)));
}

class StepSum : public EngineObserver {
 public:
  void step_finished(double seconds, std::span<const protocol::RankTiming> ranks) override {
    sum = sum + seconds;
    ++steps;
  }
  std::atomic<double> sum{0};
  std::atomic<int64_t> steps{0};
};

TEST_F(EnginePipelineTest, StepTimesAddUpToNoMoreThanTheTimeThatPassed) {
  StepSum observer;
  auto options = options_for(1);
  options.observer = &observer;
  const auto begin = SteadyClock::now();
  start(options, {FakeGroupOptions{}});
  expect_answers(submit_many(4));
  EXPECT_GT(group().ahead_rows(), 0);
  EXPECT_EQ(observer.steps, group().steps());
  engine_.reset();
  const std::chrono::duration<double> passed = SteadyClock::now() - begin;
  EXPECT_LE(observer.sum, passed.count());
}

}  // namespace
}  // namespace conclave::coordinator
