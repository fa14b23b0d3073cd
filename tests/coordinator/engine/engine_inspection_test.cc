// What operators ask of a running engine.

#include <atomic>

#include "engine_fixture.h"

namespace conclave::coordinator {
namespace {

constexpr std::chrono::milliseconds kPatience{20000};

// How often each thing about clients was told.
class ClientCounter : public EngineObserver {
 public:
  void request_queued(int32_t) override { ++requests; }
  void request_refused(absl::StatusCode) override { ++requests; }
  void request_scheduled(double, int32_t, int32_t) override { ++requests; }
  void first_token(double) override { ++requests; }
  void next_token(double) override { ++requests; }
  void request_finished(FinishReason, double, int32_t, int32_t) override { ++requests; }
  void tokens_computed(int64_t prompt, int64_t generated) override { tokens += prompt + generated; }
  void prefix_lookup(int64_t queried, int64_t) override { tokens += queried; }
  void step_finished(double, std::span<const protocol::RankTiming>) override { ++steps; }

  std::atomic<int64_t> requests{0}, tokens{0}, steps{0};
};

TEST_F(EngineTest, RequestsShowWhoRunsAndWhoWaits) {
  auto options = options_for(2);
  options.max_running = 2;
  start(options, {FakeGroupOptions{}});
  EXPECT_TRUE(engine_->requests(kPatience)->empty());
  group().hold();
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 3; ++i) {
    auto request = request_of(20 + i, 5);
    request.request_id = "r" + std::to_string(i);
    recorders.push_back(std::make_shared<Recorder>());
    submit(request, recorders.back());
  }
  group().wait_until_holding();
  ASSERT_TRUE(eventually([&] { return engine_->requests(kPatience)->size() == 3; }));
  const auto requests = *engine_->requests(kPatience);
  EXPECT_EQ(engine_->status().open, 3);
  EXPECT_EQ(requests[0].request_id, "r0");
  EXPECT_TRUE(requests[0].running);
  EXPECT_GE(requests[0].rank, 0);
  EXPECT_EQ(requests[0].kv_blocks, 2);
  EXPECT_EQ(requests[2].prompt_tokens, 22);
  EXPECT_EQ(requests[2].max_tokens, 5);
  EXPECT_FALSE(requests[2].running);
  EXPECT_EQ(requests[2].rank, -1);
  group().let_go();
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_TRUE(engine_->requests(kPatience)->empty());
  EXPECT_TRUE(eventually([&] { return engine_->status().open == 0; }));
}

TEST_F(EngineTest, ACordonKeepsNewRequestsOutAndOpenOnesGoing) {
  start(1);
  group().hold();
  const auto request = request_of(8, 6);
  auto recorder = std::make_shared<Recorder>();
  submit(request, recorder);
  group().wait_until_holding();
  engine_->cordon("new disks");
  EXPECT_TRUE(engine_->status().draining);
  EXPECT_EQ(engine_->status().cordon_reason, "new disks");
  EXPECT_EQ(engine_->status().state, GroupState::kDraining);
  EXPECT_FALSE(engine_->drained()) << "a cordon is not the end";
  const auto refused = engine_->submit(request, std::make_shared<Recorder>());
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(std::string(refused.status().message()).find("new disks"), std::string::npos);
  group().let_go();
  EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_EQ(recorder->tokens(), expected_tokens(request));
  engine_->uncordon();
  EXPECT_FALSE(engine_->status().draining);
  auto again = std::make_shared<Recorder>();
  submit(request, again);
  EXPECT_EQ(again->wait().reason, FinishReason::kLength);
}

TEST_F(EngineTest, AnUncordonDoesNotUndoTheLastDrain) {
  start(1);
  engine_->cordon("x");
  engine_->drain();
  engine_->uncordon();
  EXPECT_FALSE(engine_->submit(request_of(4, 1), std::make_shared<Recorder>()).ok());
  EXPECT_TRUE(engine_->drained());
}

TEST_F(EngineTest, AProbeIsNoClientToTheObserver) {
  ClientCounter seen;
  auto options = options_for(1);
  options.observer = &seen;
  start(options, {FakeGroupOptions{}});
  auto probe = request_of(30, 3);
  probe.probe = true;
  auto recorder = std::make_shared<Recorder>();
  submit(probe, recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  engine_->cordon("closed");
  EXPECT_FALSE(engine_->submit(probe, std::make_shared<Recorder>()).ok());
  engine_->uncordon();
  EXPECT_TRUE(eventually([&] { return seen.steps >= 3; }));
  EXPECT_EQ(seen.requests, 0);
  EXPECT_EQ(seen.tokens, 0);

  auto client = std::make_shared<Recorder>();
  submit(request_of(30, 3, 100), client);
  client->wait();
  // Queued, scheduled, three tokens, finished; 30 rows of the prompt, 30 looked up, 3 tokens.
  EXPECT_TRUE(eventually([&] { return seen.requests == 6 && seen.tokens == 63; }));
  engine_.reset();  // before the observer
}

TEST_F(EngineTest, ATraceTakesSoManyStepsAndNoMore) {
  start(2);
  EXPECT_EQ(engine_->trace().wanted, 0);
  engine_->start_trace(3);
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(8, 10), recorder);
  recorder->wait();
  ASSERT_TRUE(eventually([&] { return !engine_->trace().running; }));
  const TraceStatus trace = engine_->trace();
  ASSERT_EQ(trace.steps.size(), 3u);
  // The sum of a begin and a length is rounded: a step that starts at the clock tick where the last one ended may read a little earlier.
  constexpr double kRounding = 1e-9;
  double last = -1;
  for (const StepTrace& step : trace.steps) {
    EXPECT_EQ(step.ranks.size(), 2u);
    EXPECT_FALSE(step.ranks[1].spans.empty());
    EXPECT_GE(step.begin_seconds, last - kRounding);
    last = step.begin_seconds + step.seconds;
  }
  engine_->start_trace(5);
  engine_->stop_trace();
  auto second = std::make_shared<Recorder>();
  submit(request_of(8, 3, 50), second);
  second->wait();
  EXPECT_TRUE(engine_->trace().steps.empty());
}

}  // namespace
}  // namespace conclave::coordinator
