// Scheduler::plan_ahead: the step after the one in flight.

#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler_fixture.h"

namespace conclave::coordinator {
namespace {

class SchedulerAheadTest : public SchedulerTest {
 protected:
  // The tokens of the request when nothing is planned ahead.
  std::vector<int32_t> tokens_without(const GenerationRequest& request,
                                      const SchedulerOptions& options) {
    start(options);
    const SequenceId id = add(request);
    finish();
    return tokens_of(id);
  }
  void finish_ahead() {
    while (scheduler_->has_work()) {
      std::vector<ScheduledStep> steps = {begin()};
      while (auto ahead = begin_ahead()) {
        steps.push_back(*std::move(ahead));
        run(steps.front());
        steps.erase(steps.begin());
        ahead_steps_ += 1;
      }
      for (const ScheduledStep& step : steps) run(step);
    }
  }
  int ahead_steps_ = 0;
};

TEST_F(SchedulerAheadTest, ADecodeStepIsFollowedBeforeItsTokensAreKnown) {
  start(small_options());
  const auto first = add(request_of(14, 20));
  const auto second = add(request_of(30, 20, 500));
  const ScheduledStep prompts = begin();
  EXPECT_FALSE(prompts.plan.may_be_followed);
  EXPECT_FALSE(begin_ahead().has_value()) << "after a step that computes prompts";
  run(prompts);
  const ScheduledStep decode = begin();
  EXPECT_TRUE(decode.plan.may_be_followed);
  const auto ahead = begin_ahead();
  ASSERT_TRUE(ahead.has_value());
  EXPECT_EQ(rows(*ahead), (Rows{{first, 1}, {second, 1}}));
  EXPECT_EQ(ahead->plan.step, decode.plan.step + 1);
  EXPECT_TRUE(ahead->plan.may_be_followed);
  const protocol::SequenceChunk& chunk = ahead->plan.chunks[0];
  EXPECT_EQ(chunk.tokens, std::vector<int32_t>{protocol::kPreviousToken});
  EXPECT_EQ(chunk.start_position, 15);
  EXPECT_EQ(chunk.block_ids.size(), 1u);
  EXPECT_EQ(ahead->plan.chunks[1].block_ids.size(), 2u);
  EXPECT_TRUE(chunk.sample);
  EXPECT_EQ(chunk.sampling.position, 2u);
  EXPECT_FALSE(begin_ahead().has_value()) << "two steps ahead";
  EXPECT_FALSE(scheduler_->plan(9).has_value()) << "a step while others are in flight";
  run(decode);
  const auto next = begin_ahead();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->plan.chunks[0].block_ids.size(), 2u) << "position 16 needs another block";
  run(*ahead);
  run(*next);
  EXPECT_EQ(tokens_of(first).size(), 4u);
}

TEST_F(SchedulerAheadTest, TokensAreTheSameWithAndWithoutAndMostStepsAreAhead) {
  for (const int32_t min_tokens : {0, 20}) {
    GenerationRequest request = request_of(14, 40);
    request.min_tokens = min_tokens;
    auto options = small_options();
    options.eos_ids = {tokens_without(request_of(14, 40), options)[12]};
    const std::vector<int32_t> expected = tokens_without(request, options);
    options.pipeline = true;
    start(options);
    const SequenceId id = add(request);
    ahead_steps_ = 0;
    finish_ahead();
    EXPECT_EQ(tokens_of(id), expected);
    EXPECT_EQ(min_tokens == 0 ? expected.size() : size_t{12}, 12u);
    EXPECT_GE(ahead_steps_, static_cast<int>(expected.size()) - 3);
    EXPECT_EQ(scheduler_->ledger(0).used(), 0);
  }
}

TEST_F(SchedulerAheadTest, ASequenceThatWillHaveItsLastTokenIsLeftOut) {
  start(small_options());
  add(request_of(5, 2));
  const auto longer = add(request_of(5, 3, 500));
  step();
  const ScheduledStep decode = begin();
  const auto ahead = begin_ahead();
  ASSERT_TRUE(ahead.has_value());
  EXPECT_EQ(rows(*ahead), (Rows{{longer, 1}}));
  run(decode);
  EXPECT_FALSE(begin_ahead().has_value()) << "nobody goes on";
  run(*ahead);
  EXPECT_FALSE(scheduler_->has_work());
}

TEST_F(SchedulerAheadTest, TheModelsLengthEndsASequenceAsWell) {
  auto options = small_options();
  options.max_model_len = 8;
  start(options);
  const auto id = add(request_of(5, 50));
  step();
  const ScheduledStep decode = begin();
  const auto ahead = begin_ahead();
  ASSERT_TRUE(ahead.has_value());
  run(decode);
  EXPECT_FALSE(begin_ahead().has_value());
  run(*ahead);
  EXPECT_EQ(tokens_of(id).size(), 3u);
  ASSERT_NE(end_of(id), nullptr);
}

TEST_F(SchedulerAheadTest, TheRowOfASequenceThatHasEndedGivesNothingAndKeepsItsBlocks) {
  const std::vector<int32_t> text = tokens_without(request_of(14, 8), small_options());
  start(small_options());
  events_.clear();
  GenerationRequest request = request_of(14, 50);
  request.stop_token_ids = {text[1]};
  const auto stopped = add(request);
  step();
  const ScheduledStep decode = begin();
  const auto ahead = begin_ahead();
  ASSERT_TRUE(ahead.has_value());
  EXPECT_EQ(scheduler_->ledger(0).used(), 1);
  run(decode);
  ASSERT_NE(end_of(stopped), nullptr);
  EXPECT_EQ(end_of(stopped)->stop_token, text[1]);
  journal_.close(stopped);
  EXPECT_FALSE(scheduler_->cancel(stopped)) << "it has ended";
  EXPECT_EQ(scheduler_->ledger(0).used(), 1) << "a step in flight writes them";
  const size_t events = events_.size();
  EXPECT_FALSE(begin_ahead().has_value());
  run(*ahead);
  EXPECT_EQ(events_.size(), events);
  EXPECT_EQ(scheduler_->ledger(0).used(), 0);
  EXPECT_FALSE(scheduler_->has_work());
  EXPECT_EQ(scheduler_->ledger(0).cached(), 0) << "its last token is not part of the text";
}

TEST_F(SchedulerAheadTest, ACancelledSequenceIsForgottenWhenBothStepsHaveEnded) {
  start(small_options());
  const auto id = add(request_of(15, 50));
  const auto other = add(request_of(15, 5, 500));
  step();
  const ScheduledStep decode = begin();
  const auto ahead = begin_ahead();
  ASSERT_TRUE(ahead.has_value());
  const size_t tokens = tokens_of(id).size();
  EXPECT_TRUE(scheduler_->cancel(id));
  journal_.close(id);
  run(decode);
  EXPECT_EQ(scheduler_->ledger(0).used(), 4);
  const auto next = begin_ahead();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(rows(*next), (Rows{{other, 1}}));
  run(*ahead);
  EXPECT_EQ(scheduler_->ledger(0).used(), 2);
  EXPECT_EQ(tokens_of(id).size(), tokens);
  run(*next);
  finish();
}

TEST_F(SchedulerAheadTest, WhoeverCouldComeInIsNotKeptWaiting) {
  auto options = small_options();
  options.max_running = 2;
  start(options);
  add(request_of(5, 20));
  step();
  ScheduledStep decode = begin();
  add(request_of(5, 6, 500));
  EXPECT_FALSE(begin_ahead().has_value()) << "there is a place for it";
  run(decode);
  step();  // its prompt
  add(request_of(5, 20, 700));
  decode = begin();
  const auto ahead = begin_ahead();
  ASSERT_TRUE(ahead.has_value()) << "the house is full";
  run(decode);
  run(*ahead);
  step();
  step();
  decode = begin();
  EXPECT_FALSE(begin_ahead().has_value()) << "a place becomes free";
  run(decode);
  EXPECT_EQ(rows(step()).size(), 2u);
}

TEST_F(SchedulerAheadTest, WithoutBlocksItWaitsForPlanWhichMayPreempt) {
  auto options = small_options();
  options.kv_blocks = {3};
  options.prefix_cache = false;
  start(options);
  add(request_of(15, 10));
  add(request_of(15, 10, 500));
  step();
  const ScheduledStep decode = begin();  // position 15, the last of their blocks; one more is free
  EXPECT_FALSE(begin_ahead().has_value());
  EXPECT_EQ(scheduler_->ledger(0).used(), 2);
  run(decode);
  EXPECT_EQ(begin().preemptions, 1);
}

TEST_F(SchedulerAheadTest, WhatNeedsTheHostIsNotPlannedAhead) {
  struct Case {
    const char* why;
    GenerationRequest request;
    SchedulerOptions options;
  };
  std::vector<Case> cases(4, {"", request_of(5, 20), small_options()});
  cases[0].why = "penalties count the token";
  cases[0].request.sampling.presence_penalty = 1;
  cases[1].why = "a coherent row ends on any rank";
  cases[1].options.kv_blocks = {32, 32};
  cases[1].options.coherent = true;
  cases[2].why = "it is off";
  cases[2].options.pipeline = false;
  cases[3].why = "";
  for (const Case& c : cases) {
    SCOPED_TRACE(c.why);
    start(c.options);
    add(c.request);
    step();
    EXPECT_EQ(begin().plan.may_be_followed, std::string(c.why).empty());
    EXPECT_EQ(begin_ahead().has_value(), std::string(c.why).empty());
  }
}

TEST_F(SchedulerAheadTest, HomesAreMatchedBeforeAStepIsPlannedAhead) {
  auto options = small_options();
  options.kv_blocks = {32, 32};
  options.match_homes = true;
  start(options);
  add(request_of(1, 20));
  add(request_of(1, 20, 500));
  const ScheduledStep prompts = begin();  // a row each, like decodes
  EXPECT_FALSE(prompts.plan.may_be_followed);
  EXPECT_FALSE(begin_ahead().has_value());
  run(prompts);
  const ScheduledStep decode = begin();
  EXPECT_TRUE(begin_ahead().has_value());
}

}  // namespace
}  // namespace conclave::coordinator
