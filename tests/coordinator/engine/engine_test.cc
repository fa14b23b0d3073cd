#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "engine_fixture.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

TEST_F(EngineTest, AnswersARequest) {
  start(1);
  auto recorder = std::make_shared<Recorder>();
  const auto request = request_of(20, 30);
  submit(request, recorder);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_EQ(recorder->tokens(), expected_tokens(request));
  const EngineStatus status = engine_->status();
  EXPECT_EQ(status.kernel_set, "fake");
  EXPECT_EQ(status.model_fingerprint, "fake");
  EXPECT_EQ(status.kv_blocks, 64);
}

TEST_F(EngineTest, ATokenBeyondTheVocabularyIsRefusedBeforeItReachesARank) {
  auto options = options_for(1);
  options.vocab = 50;
  start(options, {FakeGroupOptions{}});
  auto request = request_of(20, 3);
  request.prompt[7] = 50;
  const auto id = engine_->submit(request, std::make_shared<Recorder>());
  EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(id.status().message(), "token 50 at position 7")) << id.status();
}

TEST_F(EngineTest, ManyConcurrentRequestsOverRanksGetTheirOwnTokens) {
  auto options = options_for(3);
  options.max_step_tokens = 48;
  options.max_running = 12;
  options.force_preempt_seed = 5;
  FakeGroupOptions fake;
  fake.kv_blocks = 40;
  start(options, {fake});
  std::vector<std::pair<GenerationRequest, std::shared_ptr<Recorder>>> requests;
  for (int i = 0; i < 120; ++i) {
    auto request = request_of(1 + i % 70, 1 + i % 23, (i % 5) * 100);
    request.sampling.seed = static_cast<uint64_t>(i);
    request.priority = i % 3;
    requests.emplace_back(request, std::make_shared<Recorder>());
    submit(request, requests.back().second);
  }
  for (const auto& [request, recorder] : requests) {
    EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
    EXPECT_EQ(recorder->tokens(), expected_tokens(request));
    EXPECT_EQ(recorder->ends(), 1);
  }
  EXPECT_TRUE(eventually([&] { return engine_->status().kv_blocks_used == 0; }));
}

TEST_F(EngineTest, SleepsWhenIdleAndWakesForTheNextRequest) {
  start(3);
  for (int64_t round = 1; round <= 5; ++round) {
    auto recorder = std::make_shared<Recorder>();
    submit(request_of(5, 3, static_cast<int32_t>(round)), recorder);
    recorder->wait();
    ASSERT_TRUE(eventually([&] { return group().sleeps() == round; }));
  }
  EXPECT_EQ(group().steps(), 5 * 3);
}

TEST_F(EngineTest, ACancelledRequestEndsOnceAndItsBlocksComeBack) {
  start(1);
  auto recorder = std::make_shared<Recorder>();
  const SequenceId id = submit(request_of(20, 400), recorder);
  recorder->wait_for_tokens(3);
  engine_->cancel(id);
  EXPECT_EQ(recorder->wait().reason, FinishReason::kCancelled);
  engine_->cancel(id);
  engine_->cancel(12345);
  auto next = std::make_shared<Recorder>();
  submit(request_of(3, 2), next);
  EXPECT_EQ(next->wait().reason, FinishReason::kLength);
  EXPECT_EQ(recorder->ends(), 1);
  EXPECT_TRUE(eventually([&] { return engine_->status().kv_blocks_used == 0; }));
}

TEST_F(EngineTest, AFullQueueRefuses) {
  auto options = options_for(1);
  options.max_queue = 2;
  options.max_running = 1;
  start(options, {FakeGroupOptions{}});
  group().hold();
  std::vector<std::shared_ptr<Recorder>> accepted{std::make_shared<Recorder>()};
  submit(request_of(5, 2), accepted.back());
  group().wait_until_holding();
  ASSERT_TRUE(eventually([&] { return engine_->status().running == 1; }));
  for (int i = 0; i < 2; ++i) {
    accepted.push_back(std::make_shared<Recorder>());
    submit(request_of(5, 2), accepted.back());
  }
  auto refused = std::make_shared<Recorder>();
  const auto id = engine_->submit(request_of(5, 2), refused);
  EXPECT_EQ(id.status().code(), absl::StatusCode::kResourceExhausted) << id.status();
  auto probe = request_of(5, 2);
  probe.probe = true;
  accepted.push_back(std::make_shared<Recorder>());
  submit(probe, accepted.back());
  group().let_go();
  for (const auto& recorder : accepted) EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_EQ(refused->ends(), 0);
}

TEST_F(EngineTest, EndsOpenRequestsWithTheReasonOnRequest) {
  auto options = options_for(1);
  options.max_running = 1;
  start(options, {FakeGroupOptions{}});
  group().hold();
  auto running = std::make_shared<Recorder>();
  auto waiting = std::make_shared<Recorder>();
  submit(request_of(5, 20), running);
  submit(request_of(5, 20), waiting);
  group().wait_until_holding();
  engine_->end_requests(absl::UnavailableError("because"));
  for (const auto& recorder : {running, waiting}) {
    const GenerationEnd end = recorder->wait();
    EXPECT_EQ(end.reason, FinishReason::kError);
    EXPECT_EQ(end.error.message(), "because");
    EXPECT_EQ(recorder->ends(), 1);
  }
  group().let_go();
  auto next = std::make_shared<Recorder>();
  submit(request_of(5, 3), next);
  EXPECT_EQ(next->wait().reason, FinishReason::kLength) << "the group stays";
}

TEST_F(EngineTest, RefusesWhatCanNeverRun) {
  FakeGroupOptions fake;
  fake.kv_blocks = 4;
  start(options_for(1), {fake});
  EXPECT_EQ(engine_->status().max_model_len, 64);
  auto recorder = std::make_shared<Recorder>();
  auto negative = request_of(4, 4);
  negative.prompt[2] = -7;
  for (const auto& request : {request_of(0, 5), request_of(64, 1), request_of(5, -1), negative}) {
    const auto id = engine_->submit(request, recorder);
    EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument) << id.status();
  }
  const auto too_long = engine_->submit(request_of(100, 1), recorder);
  EXPECT_TRUE(absl::StrContains(too_long.status().message(), "100")) << too_long.status();
  EXPECT_TRUE(absl::StrContains(too_long.status().message(), "64")) << too_long.status();
  EXPECT_EQ(recorder->ends(), 0);
}

TEST_F(EngineTest, AFullQueueRefusesTheClientThatFilledIt) {
  auto options = options_for(1);
  options.max_running = 2;
  options.max_queue = 8;
  start(options, {FakeGroupOptions{}});
  group().hold();
  const auto of = [](const std::string& client, int32_t weight) {
    auto request = request_of(5, 2);
    request.client = client;
    request.client_weight = weight;
    return request;
  };
  std::vector<std::shared_ptr<Recorder>> recorders;
  // How many more of this client come in.
  const auto accepted = [&](const std::string& client, int32_t weight) {
    for (int count = 0;; ++count) {
      const auto recorder = std::make_shared<Recorder>();
      const auto id = engine_->submit(of(client, weight), recorder);
      if (!id.ok()) {
        EXPECT_EQ(id.status().code(), absl::StatusCode::kResourceExhausted) << id.status();
        return count;
      }
      recorders.push_back(recorder);
    }
  };
  EXPECT_EQ(accepted("flood", 1), 10);
  EXPECT_EQ(accepted("flood", 1), 0);
  EXPECT_EQ(accepted("heavy", 3), 7);  // 10 * 3 / (3 + 1)
  EXPECT_EQ(accepted("light", 1), 2);  // 10 * 1 / (1 + 3 + 1)
  EXPECT_EQ(accepted("flood", 1), 0);
  EXPECT_EQ(accepted("heavy", 3), 0);
  EXPECT_EQ(engine_->status().open, 19);
  group().let_go();
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_TRUE(
      eventually([&] { return engine_->status().open == 0 && engine_->status().waiting == 0; }));
  group().hold();
  EXPECT_EQ(accepted("light", 1), 10);  // and nobody else is there
  group().let_go();
}

class ClientObserver : public EngineObserver {
 public:
  void clients(const std::map<std::string, ClientLoad>& loads) override {
    const std::lock_guard lock(mutex_);
    latest_ = loads;
    for (const auto& [name, load] : loads) {
      totals_[name].prompt_tokens += load.prompt_tokens;
      totals_[name].generated_tokens += load.generated_tokens;
    }
  }
  std::map<std::string, ClientLoad> latest() const {
    const std::lock_guard lock(mutex_);
    return latest_;
  }
  std::map<std::string, ClientLoad> totals() const {
    const std::lock_guard lock(mutex_);
    return totals_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, ClientLoad> latest_, totals_;
};

TEST_F(EngineTest, TheObserverSeesWhatEachClientHasAndGets) {
  ClientObserver observer;
  auto options = options_for(1);
  options.observer = &observer;
  options.max_running = 1;
  start(options, {FakeGroupOptions{}});
  group().hold();
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (const std::string client : {"a", "b", "b", ""}) {
    auto request = request_of(20, 3, static_cast<int32_t>(100 * recorders.size()));
    request.client = client;
    submit(request, recorders.emplace_back(std::make_shared<Recorder>()));
  }
  EXPECT_TRUE(eventually([&] {
    const auto loads = observer.latest();
    return loads.size() == 2 && loads.at("a").running + loads.at("a").waiting == 1 &&
           loads.at("b").running + loads.at("b").waiting == 2 && loads.at("b").waiting > 0;
  }));
  group().let_go();
  for (const auto& recorder : recorders) recorder->wait();
  EXPECT_TRUE(eventually([&] { return observer.latest().empty(); }));
  EXPECT_EQ(observer.totals().size(), 2u);
  EXPECT_EQ(observer.totals().at("b").prompt_tokens, 40);
  EXPECT_EQ(observer.totals().at("b").generated_tokens, 6);
  engine_.reset();  // before its observer
}

TEST_F(EngineTest, DrainingFinishesWhatIsOpenAndRefusesTheRest) {
  start(1);
  group().hold();
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(5, 20), recorder);
  engine_->drain();
  EXPECT_FALSE(engine_->drained());
  EXPECT_EQ(engine_->submit(request_of(5, 2), recorder).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine_->status().state, GroupState::kDraining);
  group().let_go();
  EXPECT_EQ(recorder->wait().reason, FinishReason::kLength);
  EXPECT_EQ(recorder->tokens().size(), 20u);
  EXPECT_TRUE(eventually([&] { return engine_->drained(); }));
}

TEST_F(EngineTest, DestructionEndsOpenRequests) {
  start(2);
  group().hold();
  auto recorder = std::make_shared<Recorder>();
  submit(request_of(5, 20), recorder);
  group().wait_until_holding();
  std::thread destroyer([this] { engine_.reset(); });
  EXPECT_EQ(recorder->wait().reason, FinishReason::kError);
  group().let_go();
  destroyer.join();
  EXPECT_EQ(recorder->ends(), 1);
}

TEST_F(EngineTest, SurvivesSubmittersAndCancellersOnManyThreads) {
  auto options = options_for(2);
  options.max_running = 8;
  FakeGroupOptions fake;
  fake.kv_blocks = 20;
  start(options, {fake});
  std::atomic<int> ends{0}, accepted{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 60; ++i) {
        const auto request =
            request_of(static_cast<int32_t>(1 + random() % 60), static_cast<int32_t>(random() % 30),
                       static_cast<int32_t>(random() % 3) * 100);
        auto recorder = std::make_shared<Recorder>();
        const auto id = engine_->submit(request, recorder);
        if (!id.ok()) continue;
        ++accepted;
        if (random() % 3 == 0) engine_->cancel(*id);
        const GenerationEnd end = recorder->wait();
        const auto expected = expected_tokens(request);
        const auto tokens = recorder->tokens();
        EXPECT_LE(tokens.size(), expected.size());
        EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), expected.begin()));
        EXPECT_TRUE(end.reason == FinishReason::kCancelled || tokens.size() == expected.size());
        ends += recorder->ends();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ends.load(), accepted.load());
  EXPECT_EQ(accepted.load(), 240);
}

// Every number that is counted adds up.
class CountingObserver : public EngineObserver {
 public:
  void request_queued(int32_t) override { ++queued; }
  void request_refused(absl::StatusCode code) override { refused = code; }
  void request_scheduled(double, int32_t prompt, int32_t cached) override {
    prompt_tokens += prompt;
    cached_tokens += cached;
  }
  void first_token(double) override { ++first; }
  void next_token(double) override { ++next; }
  void request_finished(FinishReason, double, int32_t, int32_t generated) override {
    finished_tokens += generated;
  }
  void tokens_computed(int64_t prompt, int64_t generated) override {
    computed_prompt += prompt;
    computed_output += generated;
  }
  void prefix_lookup(int64_t, int64_t hit) override { hits += hit; }
  void step_finished(double, std::span<const protocol::RankTiming> ranks) override {
    timings += static_cast<int64_t>(ranks.size());
  }
  void group_state(GroupState state) override { last_state = state; }
  std::atomic<int64_t> queued{0}, first{0}, next{0}, prompt_tokens{0}, cached_tokens{0},
      finished_tokens{0}, computed_prompt{0}, computed_output{0}, hits{0}, timings{0};
  std::atomic<absl::StatusCode> refused{absl::StatusCode::kOk};
  std::atomic<GroupState> last_state{GroupState::kStarting};
};

TEST_F(EngineTest, TheObserverSeesEachTokenOnce) {
  CountingObserver observer;
  auto options = options_for(2);
  options.observer = &observer;
  start(options, {FakeGroupOptions{}});
  for (int i = 0; i < 2; ++i) {
    auto recorder = std::make_shared<Recorder>();
    submit(request_of(40, 10), recorder);
    recorder->wait();
  }
  (void)engine_->submit(request_of(0, 1), std::make_shared<Recorder>());
  engine_.reset();
  EXPECT_EQ(observer.queued, 2);
  EXPECT_EQ(observer.first, 2);
  EXPECT_EQ(observer.next, 18);
  EXPECT_EQ(observer.finished_tokens, 20);
  EXPECT_EQ(observer.computed_output, 20);
  EXPECT_EQ(observer.prompt_tokens, 80);
  EXPECT_EQ(observer.cached_tokens, 32);
  EXPECT_EQ(observer.hits, 32);
  EXPECT_EQ(observer.computed_prompt, 48);
  EXPECT_EQ(observer.timings, 2 * 20);
  EXPECT_EQ(observer.refused, absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(observer.last_state, GroupState::kStopped);
}

TEST(CreateEngine, ImpossibleOptionsAreRefused) {
  for (auto member :
       {&EngineOptions::ranks, &EngineOptions::max_model_len, &EngineOptions::max_queue,
        &EngineOptions::max_step_tokens, &EngineOptions::max_running}) {
    EngineOptions options;
    options.max_model_len = 10;
    options.*member = 0;
    EXPECT_EQ(create_engine(options, make_connected_transport({})).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EngineOptions options;
  options.max_model_len = 10;
  options.configure.placement_json = "{";
  EXPECT_FALSE(create_engine(options, make_connected_transport({})).ok());
}

}  // namespace
}  // namespace conclave::coordinator
