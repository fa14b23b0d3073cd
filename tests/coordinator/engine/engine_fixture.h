#ifndef CONCLAVE_TESTS_COORDINATOR_ENGINE_ENGINE_FIXTURE_H_
#define CONCLAVE_TESTS_COORDINATOR_ENGINE_ENGINE_FIXTURE_H_

// A real engine over fake groups, and a client that remembers what it was told.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coordinator/engine/create_engine.h"
#include "fake_group.h"
#include "fake_model.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {

inline constexpr int32_t kFakeVocab = 1000;

class Recorder : public GenerationListener {
 public:
  void on_prompt(PromptPart part) override {
    const std::lock_guard lock(mutex_);
    prompt_rows_ += part.rows;
  }
  void on_token(GeneratedToken token) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(ends_, 0);
    tokens_.push_back(token.id);
    changed_.notify_all();
  }
  void on_end(GenerationEnd end) override {
    const std::lock_guard lock(mutex_);
    ++ends_;
    end_ = std::move(end);
    changed_.notify_all();
  }
  GenerationEnd wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30), [this] { return ends_ > 0; }))
        << "no end";
    return end_;
  }
  void wait_for_tokens(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30),
                                  [&] { return tokens_.size() >= count || ends_ > 0; }));
  }
  std::vector<int32_t> tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  int ends() const {
    const std::lock_guard lock(mutex_);
    return ends_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int32_t> tokens_;
  int32_t prompt_rows_ = 0;
  int ends_ = 0;
  GenerationEnd end_;
};

template <typename Condition>
bool eventually(Condition condition) {
  const Deadline deadline = Deadline::after_ms(30000);
  while (!condition()) {
    if (deadline.expired()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

inline GenerationRequest request_of(int32_t prompt, int32_t max_tokens, int32_t salt = 0) {
  GenerationRequest request;
  for (int32_t i = 0; i < prompt; ++i) request.prompt.push_back(salt + i);
  request.max_tokens = max_tokens;
  return request;
}

inline std::vector<int32_t> expected_tokens(const GenerationRequest& request) {
  std::vector<int32_t> text = request.prompt;
  for (int32_t i = 0; i < request.max_tokens; ++i) {
    protocol::Sampling sampling = request.sampling;
    sampling.position = static_cast<uint32_t>(i);
    text.push_back(fake_next_token(text, sampling, kFakeVocab));
  }
  return {text.begin() + static_cast<std::ptrdiff_t>(request.prompt.size()), text.end()};
}

class EngineTest : public testing::Test {
 protected:
  static EngineOptions options_for(int32_t ranks) {
    EngineOptions options;
    options.ranks = ranks;
    options.max_model_len = 512;
    options.idle_sleep_ms = 1;
    options.restart_backoff_ms = 1;
    options.heartbeat_timeout_ms = 20000;  // machines that build us are slow at times
    return options;
  }
  // `groups` describes the incarnations; the last is repeated.
  void start(EngineOptions options, std::vector<FakeGroupOptions> groups) {
    begin(std::move(options), std::move(groups));
    ASSERT_TRUE(eventually([&] { return engine_->status().state == GroupState::kReady; }));
  }
  // held: the first group answers no step before group().let_go().
  void begin(EngineOptions options, std::vector<FakeGroupOptions> groups, bool held = false) {
    for (FakeGroupOptions& group : groups) group.ranks = options.ranks;
    auto transport = make_in_process_transport(
        [this, groups, held]() -> absl::StatusOr<std::vector<std::unique_ptr<comm::ChannelPeer>>> {
          const std::lock_guard lock(mutex_);
          const FakeGroupOptions& next = groups[std::min(groups_.size(), groups.size() - 1)];
          ConnectedEnds ends = make_connected_ends(next.ranks);
          groups_.push_back(std::make_unique<FakeGroup>(next, std::move(ends.channels)));
          if (held && groups_.size() == 1) groups_.back()->hold();
          return std::move(ends.peers);
        },
        nullptr);
    auto engine = create_engine(std::move(options), std::move(transport));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void start(int32_t ranks) { start(options_for(ranks), {FakeGroupOptions{}}); }
  FakeGroup& group() {
    const std::lock_guard lock(mutex_);
    return *groups_.back();
  }
  SequenceId submit(const GenerationRequest& request, const std::shared_ptr<Recorder>& recorder) {
    const auto id = engine_->submit(request, recorder);
    EXPECT_TRUE(id.ok()) << id.status();
    return id.value_or(0);
  }
  void TearDown() override {
    engine_.reset();
    for (const auto& group : groups_) {
      for (const std::string& problem : group->problems()) ADD_FAILURE() << problem;
    }
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<FakeGroup>> groups_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_ENGINE_ENGINE_FIXTURE_H_
