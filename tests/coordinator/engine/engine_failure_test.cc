// Groups that die under open requests.

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "engine_fixture.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using EngineFailureTest = EngineTest;

TEST_F(EngineFailureTest, ADeadGroupEndsOpenRequestsWithTheSentenceAndServesAgain) {
  FakeGroupOptions dying;
  dying.die_at_step = 4;
  start(options_for(2), {dying, FakeGroupOptions{}});
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(20, 30), recorder);
  const GenerationEnd end = recorder->wait();
  EXPECT_EQ(end.reason, FinishReason::kError);
  EXPECT_EQ(end.error.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(end.error.message(), "host testhost")) << end.error;
  EXPECT_EQ(recorder->tokens().size(), 3u);
  ASSERT_TRUE(eventually([&] { return engine_->status().state == GroupState::kReady; }));
  EXPECT_EQ(engine_->status().restarts, 1);
  EXPECT_TRUE(absl::StrContains(engine_->status().last_failure, "closed its connection"));
  auto next = std::make_shared<Recorder>();
  submit(request_of(20, 30), next);
  EXPECT_EQ(next->wait().reason, FinishReason::kLength);
  EXPECT_EQ(next->tokens(), expected_tokens(request_of(20, 30)));
}

TEST_F(EngineFailureTest, WithReplayNoTokenIsRepeatedOrLostAcrossRestarts) {
  auto options = options_for(2);
  options.replay_on_failure = true;
  FakeGroupOptions dying;
  dying.die_at_step = 7;
  FakeGroupOptions dying_later;
  dying_later.die_at_step = 15;
  start(options, {dying, dying_later, FakeGroupOptions{}});
  std::vector<std::pair<GenerationRequest, std::shared_ptr<Recorder>>> requests;
  group().hold();  // so that it does not die before all are accepted
  for (int i = 0; i < 10; ++i) {
    requests.emplace_back(request_of(10 + i, 30, 50 * i), std::make_shared<Recorder>());
    submit(requests.back().first, requests.back().second);
  }
  group().let_go();
  for (const auto& [request, recorder] : requests) {
    EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
    EXPECT_EQ(recorder->tokens(), expected_tokens(request));
  }
  EXPECT_EQ(engine_->status().restarts, 2);
}

TEST_F(EngineFailureTest, ReplayRefusesToContinueWithAnotherModel) {
  auto options = options_for(1);
  options.replay_on_failure = true;
  FakeGroupOptions dying;
  dying.die_at_step = 3;
  FakeGroupOptions other;
  other.fingerprint = "other";
  start(options, {dying, other});
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(10, 30), recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kError);
  EXPECT_EQ(recorder->tokens().size(), 2u);
  EXPECT_NE(engine_->status().last_failure.find("loaded another model (other)"), std::string::npos);
  EXPECT_NE(engine_->status().state, GroupState::kReady);
}

TEST_F(EngineFailureTest, AModelWhoseFilesComeBackIsServedAgain) {
  auto options = options_for(1);
  options.replay_on_failure = true;
  FakeGroupOptions dying;
  dying.die_at_step = 3;
  FakeGroupOptions other;
  other.fingerprint = "other";
  start(options, {dying, other, FakeGroupOptions{}});
  auto recorder = std::make_shared<Recorder>();
  const GenerationRequest request = request_of(10, 30);
  submit(request, recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_EQ(recorder->tokens(), expected_tokens(request));
  EXPECT_EQ(engine_->status().model_fingerprint, "fake");
}

TEST_F(EngineFailureTest, ARequestThatKillsEveryGroupIsGivenUp) {
  auto options = options_for(1);
  options.replay_on_failure = true;
  FakeGroupOptions dying;
  dying.kv_blocks = 64;
  std::vector<FakeGroupOptions> groups(5, dying);
  for (size_t i = 0; i < 4; ++i) groups[i].die_at_step = static_cast<int64_t>(i) + 1;
  start(options, groups);
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(10, 30), recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kError);
}

}  // namespace
}  // namespace conclave::coordinator
