// The start-up check, and what becomes of requests whose logits are unusable.

#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CountingObserver : public EngineObserver {
 public:
  void step_finished(double, std::span<const protocol::RankTiming>) override { ++steps; }
  void tokens_computed(int64_t prompt, int64_t generated) override { tokens += prompt + generated; }
  void request_queued(int32_t) override { ++requests; }
  void request_finished(FinishReason, double, int32_t, int32_t) override { ++requests; }
  int64_t steps = 0, tokens = 0, requests = 0;
};

class EngineCheckTest : public EngineTest {
 protected:
  static EngineOptions checked(int32_t ranks) {
    EngineOptions options = options_for(ranks);
    options.startup_prompt = {7, 8, 9};
    options.vocab = 4;
    return options;
  }
  // The engine's transport cannot run a second time what never became ready, so the group fails for
  // good.
  EngineStatus broken(std::vector<float> logits, bool finite = true) {
    FakeGroupOptions group;
    group.logits = std::move(logits);
    group.finite = finite;
    EngineOptions options = checked(1);
    options.restart = false;
    begin(std::move(options), {group});
    EXPECT_TRUE(eventually([&] { return engine_->status().state == GroupState::kFailed; }));
    return engine_->status();
  }
};

TEST_F(EngineCheckTest, AGroupIsReadyOnceItHasAnswered) {
  FakeGroupOptions good;
  good.logits = {0, 1, 2, 3};
  CountingObserver observer;
  EngineOptions options = checked(3);
  options.observer = &observer;
  start(options, {good});
  EXPECT_GE(group().steps(), 8);
  EXPECT_EQ(engine_->status().warning, "");
  EXPECT_EQ(engine_->status().open, 0);
  EXPECT_EQ(observer.steps + observer.tokens + observer.requests, 0)
      << "the check is nobody's traffic";
  EXPECT_GT(engine_->status().since, 0);
  engine_.reset();
}

TEST_F(EngineCheckTest, NotReadyWhileTheCheckRuns) {
  FakeGroupOptions good;
  begin(checked(1), {good}, /*held=*/true);
  ASSERT_TRUE(eventually([&] { return engine_->status().checking; }));
  EXPECT_EQ(engine_->status().state, GroupState::kLoading);
  EXPECT_EQ(engine_->submit(request_of(3, 3), std::make_shared<Recorder>()).status().code(),
            absl::StatusCode::kUnavailable);
  group().let_go();
  EXPECT_TRUE(eventually([&] { return engine_->status().state == GroupState::kReady; }));
  EXPECT_FALSE(engine_->status().checking);
}

TEST_F(EngineCheckTest, NanIsNeverReady) {
  const EngineStatus status = broken({0, kNan, 2, 3});
  EXPECT_EQ(status.start_failure, EngineStatus::StartFailure::kRefused);
  EXPECT_THAT(status.last_failure, testing::AllOf(HasSubstr("start-up check"), HasSubstr("NaN")));
}

TEST_F(EngineCheckTest, InfinityIsNeverReady) {
  EXPECT_THAT(broken({0, kInfinity, 2, 3}).last_failure, HasSubstr("infinite"));
}

TEST_F(EngineCheckTest, EqualLogitsAreNeverReady) {
  EXPECT_THAT(broken({2, 2, 2, 2}).last_failure, HasSubstr("all logits of the model are equal"));
}

TEST_F(EngineCheckTest, WhatARankFoundInItsOwnRowsIsNeverReady) {
  const EngineStatus status = broken({0, 1, 2, 3}, false);
  EXPECT_EQ(status.start_failure, EngineStatus::StartFailure::kRefused);
  EXPECT_THAT(status.last_failure,
              testing::AllOf(HasSubstr("NaN or infinite"), HasSubstr("rank 0")));
}

TEST_F(EngineCheckTest, OneTokenThroughoutIsAWarning) {
  FakeGroupOptions parrot;
  parrot.logits = {0, 1, 2, 3};
  parrot.parrot = 2;
  start(checked(2), {parrot});
  EXPECT_THAT(engine_->status().warning,
              testing::AllOf(HasSubstr("token 2"), HasSubstr("8 times")));
}

TEST_F(EngineCheckTest, AVocabularyOfOneAndAContextOfOneAreFine) {
  FakeGroupOptions tiny;
  tiny.logits = {5};
  tiny.vocab = 1;
  EngineOptions options = checked(1);
  options.startup_prompt = {0, 0, 0};
  options.vocab = 1;
  options.max_model_len = 1;
  start(options, {tiny});
  EXPECT_EQ(engine_->status().warning, "");
}

TEST_F(EngineCheckTest, EveryRestartIsChecked) {
  FakeGroupOptions dying, broken, good;
  dying.logits = good.logits = {0, 1, 2, 3};
  broken.logits = {kNan, kNan, kNan, kNan};
  dying.die_at_step = 20;
  EngineOptions options = checked(1);
  options.vocab = 4;
  start(options, {dying, broken, good});
  auto recorder = std::make_shared<Recorder>();
  GenerationRequest request = request_of(1, 100, 2);
  submit(request, recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kError);
  ASSERT_TRUE(eventually([&] {
    return engine_->status().restarts == 2 && engine_->status().state == GroupState::kReady;
  }));
  EXPECT_THAT(engine_->status().last_failure, HasSubstr("NaN"));
}

TEST_F(EngineCheckTest, ReplaysWaitForTheCheck) {
  FakeGroupOptions dying, good;
  dying.logits = good.logits = std::vector<float>{0, 1, 2, 3};
  dying.die_at_step = 12;
  EngineOptions options = checked(2);
  options.vocab = 4;
  options.replay_on_failure = true;
  start(options, {dying, good});
  auto recorder = std::make_shared<Recorder>();
  GenerationRequest request = request_of(1, 30, 2);
  submit(request, recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_EQ(recorder->tokens(), expected_tokens(request));
}

TEST_F(EngineCheckTest, AGroupThatDiesInTheCheckStartsAgain) {
  FakeGroupOptions dying, good;
  dying.logits = good.logits = {0, 1, 2, 3};
  dying.die_at_step = 3;
  EngineOptions options = checked(1);
  options.replay_on_failure = true;
  start(options, {dying, good});
  EXPECT_EQ(engine_->status().restarts, 1);
  EXPECT_EQ(engine_->status().open, 0);
}

TEST_F(EngineCheckTest, ARequestWhoseLogitsAreUnusableEndsWithASentence) {
  FakeGroupOptions odd;
  odd.finite = false;
  start(options_for(1), {odd});
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(5, 5), recorder);
  const GenerationEnd end = recorder->wait();
  EXPECT_EQ(end.reason, FinishReason::kError);
  EXPECT_EQ(end.error.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(end.error.message()),
              testing::AllOf(HasSubstr("NaN or infinite"), HasSubstr("rank 0")));
  EXPECT_TRUE(recorder->tokens().empty());
  EXPECT_EQ(engine_->status().state, GroupState::kReady) << "others go on";
}

}  // namespace
}  // namespace conclave::coordinator
