#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler_fixture.h"

namespace conclave::coordinator {
namespace {

TEST_F(SchedulerTest, DecodesComeFirstAndPromptsFillTheBudgetInChunks) {
  start(small_options());
  const auto decoding = add(request_of(3, 20));
  step();
  const auto long_prompt = add(request_of(100, 5, 500));
  EXPECT_EQ(rows(step()), (Rows{{decoding, 1}, {long_prompt, 63}}));
  EXPECT_EQ(rows(step()), (Rows{{decoding, 1}, {long_prompt, 37}}));
  EXPECT_EQ(rows(step()), (Rows{{decoding, 1}, {long_prompt, 1}}));
}

TEST_F(SchedulerTest, HomesAreTheBestBalancedAssignmentOfPrompts) {
  auto options = small_options();
  options.kv_blocks = {32, 32};
  options.match_homes = true;
  // Hits of a prompt on its own rank and on the other, for both prompts, and whether they change
  // places. In the first case the one with more to gain must give way: 50 + 90 is more than 100
  // + 10.
  struct Case {
    std::vector<int64_t> own, other;
    size_t moves;
  };
  for (const Case& c : {Case{{50, 90}, {100, 10}, 0}, Case{{10, 10}, {100, 100}, 2},
                        Case{{100, 100}, {101, 101}, 0}}) {
    start(options);
    add(request_of(8, 20));
    add(request_of(8, 20, 100));
    auto planned = scheduler_->plan(++step_);
    ASSERT_TRUE(planned.has_value());
    ASSERT_EQ(planned->plan.chunks.size(), 2u);
    ASSERT_NE(planned->plan.chunks[0].home_rank, planned->plan.chunks[1].home_rank);
    protocol::StepResult result = ranks_->run(planned->plan);
    ASSERT_EQ(result.sequences.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_EQ(result.sequences[i].sequence_id, planned->plan.chunks[i].sequence_id);
      auto& hits = result.sequences[i].rank_hits;
      const auto home = static_cast<size_t>(planned->plan.chunks[i].home_rank);
      hits.resize(2);
      hits[home] = static_cast<int32_t>(c.own[i]);
      hits[1 - home] = static_cast<int32_t>(c.other[i]);
    }
    ASSERT_TRUE(scheduler_->apply(result).ok());
    EXPECT_EQ(step().plan.kv_moves.size(), c.moves);
    finish();
  }
}

// Two ranks of one sequence each: whoever comes later finds its better rank taken. Who is there
// gives way if that is worth more than staying, but not once experts have moved since it was
// counted.
TEST_F(SchedulerTest, ASequenceThatHasAHomeMakesRoomForANewcomerThatNeedsItMore) {
  auto options = small_options();
  options.kv_blocks = {32, 32};
  options.match_homes = true;
  const auto prefill = [this](const std::vector<int32_t>& hits) {
    auto planned = scheduler_->plan(++step_);
    ASSERT_TRUE(planned.has_value());
    ASSERT_TRUE(planned->plan.kv_moves.empty());
    protocol::StepResult result = ranks_->run(planned->plan);
    for (auto& sequence : result.sequences) {
      if (!sequence.rank_hits.empty()) sequence.rank_hits = hits;
    }
    ASSERT_TRUE(scheduler_->apply(result).ok());
  };
  struct Case {
    std::vector<int32_t> newcomer;
    bool experts_move;
    size_t moves;
  };
  for (const Case& c :
       {Case{{100, 10}, false, 2}, Case{{100, 98}, false, 0}, Case{{100, 10}, true, 0}}) {
    start(options);
    add(request_of(8, 20));
    prefill({100, 99});  // to rank 0, where it is and stays
    EXPECT_TRUE(step().plan.kv_moves.empty());
    if (c.experts_move) scheduler_->forget_rank_hits();
    add(request_of(8, 20, 100));
    prefill(c.newcomer);
    EXPECT_EQ(step().plan.kv_moves.size(), c.moves);
    EXPECT_TRUE(step().plan.kv_moves.empty());  // and that is that
    finish();
  }
}

TEST_F(SchedulerTest, OnlyTheLastChunkOfAPromptSamples) {
  start(small_options());
  add(request_of(100, 2));
  EXPECT_FALSE(step().plan.chunks[0].sample);
  EXPECT_TRUE(step().plan.chunks[0].sample);
}

TEST_F(SchedulerTest, LowerPriorityNumbersRunFirstThenTheOlder) {
  auto options = small_options();
  options.max_running = 1;
  start(options);
  auto late = request_of(4, 1), early = request_of(4, 1, 10), urgent = request_of(4, 1, 20);
  late.priority = early.priority = 5;
  urgent.priority = -1;
  const auto first = add(early), second = add(late), third = add(urgent);
  EXPECT_EQ(rows(step()), (Rows{{third, 4}}));
  EXPECT_EQ(rows(step()), (Rows{{first, 4}}));
  EXPECT_EQ(rows(step()), (Rows{{second, 4}}));
}

TEST_F(SchedulerTest, PreemptsTheYoungestWhenBlocksRunOutAndLosesNoToken) {
  auto options = small_options();
  options.kv_blocks = {4};
  options.prefix_cache = false;
  start(options);
  const auto older = add(request_of(16, 20));
  const auto younger = add(request_of(16, 20, 500));
  int32_t preemptions = 0;
  while (scheduler_->has_work()) {
    const ScheduledStep planned = step();
    preemptions += planned.preemptions;
    if (planned.preemptions > 0) {
      ASSERT_EQ(rows(planned).size(), 1u);
      EXPECT_EQ(rows(planned)[0].first, older);
    }
  }
  EXPECT_EQ(preemptions, 1);
  EXPECT_EQ(tokens_of(older).size(), 20u);
  EXPECT_EQ(tokens_of(younger).size(), 20u);
  EXPECT_EQ(journal_.find(younger)->recompute_tokens().size(), 36u);
}

TEST_F(SchedulerTest, ASecondRequestTakesTheWholeBlocksOfAnEqualBeginning) {
  start(small_options());
  add(request_of(40, 1));
  finish();
  const int64_t before = ranks_->rows();
  const auto second = add(request_of(40, 1));
  const ScheduledStep planned = step();
  EXPECT_EQ(planned.admissions[0].cached_tokens, 32);
  EXPECT_EQ(planned.admissions[0].tokens, 40);
  EXPECT_EQ(ranks_->rows() - before, 8);
  EXPECT_EQ(end_of(second)->cached_prompt_tokens, 32);
  EXPECT_EQ(tokens_of(1), tokens_of(second));
}

TEST_F(SchedulerTest, AFullyCachedPromptStillComputesItsLastBlock) {
  start(small_options());
  add(request_of(32, 1));
  finish();
  add(request_of(32, 1));
  EXPECT_EQ(step().plan.chunks[0].start_position, 16);
}

TEST_F(SchedulerTest, GeneratedTextIsCachedForTheNextTurn) {
  start(small_options());
  const auto first = add(request_of(20, 20));
  finish();
  auto next = request_of(20, 1);
  const auto answer = tokens_of(first);
  next.prompt.insert(next.prompt.end(), answer.begin(), answer.end());
  add(next);
  EXPECT_EQ(step().plan.chunks[0].start_position, 32);
}

TEST_F(SchedulerTest, EqualPromptsSubmittedTogetherAreComputedOnce) {
  start(small_options());
  for (int i = 0; i < 8; ++i) add(request_of(40, 3));
  finish();
  // One whole prompt, seven remainders of 8 rows, two decode rows each.
  EXPECT_EQ(ranks_->rows(), 40 + 7 * 8 + 8 * 2);
}

TEST_F(SchedulerTest, RequestsThatReportTheirPromptBypassTheCache) {
  start(small_options());
  add(request_of(40, 1));
  finish();
  auto request = request_of(40, 0);
  request.prompt_top_logprobs = 2;
  const auto id = add(request);
  finish();
  EXPECT_EQ(end_of(id)->reason, FinishReason::kLength);
  EXPECT_EQ(end_of(id)->cached_prompt_tokens, 0);
  EXPECT_TRUE(tokens_of(id).empty());
  const auto& part = std::get<PromptPart>(events_[events_.size() - 2].what);
  EXPECT_EQ(part.rows, 40);
  EXPECT_EQ(part.logprobs.size(), 39u);
  EXPECT_EQ(part.logprobs[0].target.token, 1);
}

TEST_F(SchedulerTest, SequencesWhosePlansWouldGrowTooLargeTakeTurns) {
  SchedulerOptions options = small_options();
  options.max_plan_bytes = 4096;
  start(options);
  std::vector<SequenceId> ids;
  for (int32_t i = 0; i < 6; ++i) {
    GenerationRequest request = request_of(10, 5, i * 50);
    request.sampling.repetition_penalty = 1.5f;
    for (int32_t b = 0; b < 150; ++b) request.sampling.bias.push_back({b, 0.5f});
    ids.push_back(add(std::move(request)));
  }
  while (scheduler_->has_work()) {
    const ScheduledStep planned = step();
    ASSERT_LE(encode(planned.plan).size(), 4096u);
    ASSERT_GE(planned.plan.chunks.size(), 1u);
  }
  for (const SequenceId id : ids) EXPECT_EQ(tokens_of(id).size(), 5u);
}

TEST_F(SchedulerTest, ReportedLogitsOfAStepFitAFrame) {
  SchedulerOptions options = small_options();
  options.vocab = 6 << 20;  // 24 MiB a row
  start(options);
  GenerationRequest request = request_of(9, 0);
  request.want_logits = true;
  add(std::move(request));
  auto planned = scheduler_->plan(1);
  ASSERT_TRUE(planned.has_value());
  EXPECT_EQ(rows(*planned), (std::vector<std::pair<SequenceId, size_t>>{{1, 2}}));
}

TEST_F(SchedulerTest, LargeStepsMayTakeLonger) {
  SchedulerOptions options = small_options();
  options.kv_blocks = {128};
  options.max_model_len = 2048;
  options.max_step_tokens = options.max_rank_step_tokens = 1024;
  options.step_deadline_ms = 100;
  start(options);
  add(request_of(600, 2));
  EXPECT_EQ(step().plan.deadline_ms, 300);
  EXPECT_EQ(step().plan.deadline_ms, 100);
}

TEST_F(SchedulerTest, SpreadsSequencesOverRanks) {
  auto options = small_options();
  options.kv_blocks = {8, 8, 8};
  start(options);
  for (int i = 0; i < 6; ++i) add(request_of(5, 2, 100 * i));
  std::vector<int> homes(3);
  for (const auto& chunk : step().plan.chunks) ++homes[static_cast<size_t>(chunk.home_rank)];
  EXPECT_EQ(homes, (std::vector<int>{2, 2, 2}));
}

TEST_F(SchedulerTest, APromptThatCanNeverFitIsRefusedWithASentence) {
  auto options = small_options();
  options.kv_blocks = {32, 3};
  start(options);
  EXPECT_EQ(scheduler_->max_model_len(), 48);
  const absl::Status status = scheduler_->admit(journal_.open(9, request_of(48, 1)));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("48 tokens"), std::string::npos) << status;
  EXPECT_FALSE(scheduler_->has_work());
  add(request_of(47, 100));
  finish();
  EXPECT_EQ(tokens_of(1).size(), 1u);
  EXPECT_EQ(end_of(1)->reason, FinishReason::kLength);
}

TEST_F(SchedulerTest, EndOfTextEndsWithoutBeingEmitted) {
  auto options = small_options();
  const auto request = request_of(5, 10);
  const int32_t first = fake_next_token(request.prompt, {}, kVocab);
  options.eos_ids = {first};
  start(options);
  const auto id = add(request);
  finish();
  EXPECT_TRUE(tokens_of(id).empty());
  EXPECT_EQ(end_of(id)->stop_token, first);
  auto ignoring = request;
  ignoring.ignore_eos = true;
  const auto other = add(ignoring);
  finish();
  EXPECT_EQ(tokens_of(other)[0], first);
  EXPECT_EQ(tokens_of(other).size(), 10u);
}

TEST_F(SchedulerTest, StopTokensAreBannedBeforeMinTokensOverTheClientsBias) {
  auto options = small_options();
  options.eos_ids = {3};
  start(options);
  auto request = request_of(5, 10);
  request.min_tokens = 1;
  request.stop_token_ids = {3, 4};
  request.sampling.bias = {{3, 5.0f}, {9, 1.0f}};
  add(request);
  const auto first = step().plan.chunks[0].sampling.bias;
  ASSERT_EQ(first.size(), 3u);
  EXPECT_EQ(first[0].token, 9);
  EXPECT_TRUE(std::isinf(first[1].bias) && first[1].bias < 0 && first[1].token == 3);
  EXPECT_TRUE(std::isinf(first[2].bias) && first[2].token == 4);
  EXPECT_EQ(step().plan.chunks[0].sampling.bias.size(), 2u);
}

TEST_F(SchedulerTest, ACancelledSequenceKeepsItsBlocksUntilItsStepIsOver) {
  start(small_options());
  const auto id = add(request_of(20, 50));
  const auto planned = scheduler_->plan(1);
  EXPECT_TRUE(scheduler_->cancel(id));
  journal_.close(id);
  EXPECT_FALSE(scheduler_->cancel(id));
  EXPECT_EQ(scheduler_->ledger(0).used(), 2);
  const auto events = scheduler_->apply(ranks_->run(planned->plan));
  ASSERT_TRUE(events.ok());
  EXPECT_TRUE(events->empty());
  EXPECT_EQ(scheduler_->ledger(0).used(), 0);
  EXPECT_FALSE(scheduler_->has_work());
}

TEST_F(SchedulerTest, AResultThatDoesNotBelongToThePlanIsAnError) {
  start(small_options());
  EXPECT_FALSE(scheduler_->apply({}).ok());
  add(request_of(5, 5));
  const auto planned = scheduler_->plan(1);
  protocol::StepResult result = ranks_->run(planned->plan);
  result.sequences[0].sampled = false;
  EXPECT_EQ(scheduler_->apply(result).status().code(), absl::StatusCode::kInternal);
  result.step = 7;
  EXPECT_EQ(scheduler_->apply(result).status().code(), absl::StatusCode::kInternal);
}

TEST_F(SchedulerTest, ReplayIntoANewGroupContinuesWhereTheClientStands) {
  start(small_options());
  const auto whole = add(request_of(20, 12));
  finish();
  const auto interrupted = add(request_of(20, 12));
  for (int i = 0; i < 5; ++i) step();
  const size_t before = tokens_of(interrupted).size();
  EXPECT_EQ(before, 5u);
  start(small_options());  // the ranks and their K/V are gone, the journal is not
  ASSERT_TRUE(scheduler_->admit(journal_.find(interrupted)).ok());
  finish();
  EXPECT_EQ(tokens_of(interrupted), tokens_of(whole));
}

TEST_F(SchedulerTest, TheSameCallsGiveTheSamePlans) {
  std::vector<std::vector<std::byte>> plans[2];
  for (auto& recorded : plans) {
    start(small_options());
    for (int i = 0; i < 6; ++i) {
      last_id_ = static_cast<SequenceId>(i);
      add(request_of(10 + 7 * i, 9, i % 2));
    }
    while (scheduler_->has_work()) recorded.push_back(protocol::encode(step().plan));
    step_ = 0;
    for (SequenceId id = 1; id <= 6; ++id) journal_.close(id);
  }
  EXPECT_EQ(plans[0], plans[1]);
}

}  // namespace
}  // namespace conclave::coordinator
