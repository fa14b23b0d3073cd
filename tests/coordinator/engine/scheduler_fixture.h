#ifndef CONCLAVE_TESTS_COORDINATOR_ENGINE_SCHEDULER_FIXTURE_H_
#define CONCLAVE_TESTS_COORDINATOR_ENGINE_SCHEDULER_FIXTURE_H_

// A scheduler over fake ranks, one step at a time.

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "coordinator/engine/scheduler.h"
#include "fake_model.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {

inline constexpr int32_t kVocab = 1000;

inline SchedulerOptions small_options() {
  SchedulerOptions options;
  options.kv_blocks = {32};
  options.max_model_len = 256;
  options.max_step_tokens = 64;
  options.max_rank_step_tokens = 64;
  return options;
}

inline GenerationRequest request_of(int32_t prompt, int32_t max_tokens, int32_t salt = 0) {
  GenerationRequest request;
  for (int32_t i = 0; i < prompt; ++i) request.prompt.push_back(salt + i);
  request.max_tokens = max_tokens;
  return request;
}

class SchedulerTest : public testing::Test {
 protected:
  void start(const SchedulerOptions& options) {
    scheduler_ = std::make_unique<Scheduler>(options);
    ranks_ = std::make_unique<FakeRanks>(options.kv_blocks, kVocab);
  }
  SequenceId add(GenerationRequest request) {
    const SequenceId id = ++last_id_;
    const absl::Status status = scheduler_->admit(journal_.open(id, std::move(request)));
    EXPECT_TRUE(status.ok()) << status;
    return id;
  }
  // One step; its plan.
  ScheduledStep step() {
    auto planned = scheduler_->plan(++step_);
    EXPECT_TRUE(planned.has_value());
    if (!planned) return {};
    run(*planned);
    return *std::move(planned);
  }
  // The oldest step in flight: runs and ends.
  void run(const ScheduledStep& step) {
    auto events = scheduler_->apply(ranks_->run(step.plan));
    ASSERT_TRUE(events.ok()) << events.status();
    for (auto& event : *events) events_.push_back(std::move(event));
    EXPECT_TRUE(ranks_->problems().empty()) << ranks_->problems().front();
  }
  // Begins a step; it stays in flight.
  ScheduledStep begin() {
    auto planned = scheduler_->plan(++step_);
    EXPECT_TRUE(planned.has_value());
    return planned ? *std::move(planned) : ScheduledStep{};
  }
  std::optional<ScheduledStep> begin_ahead() {
    auto planned = scheduler_->plan_ahead(step_ + 1);
    step_ += planned ? 1 : 0;
    return planned;
  }
  void finish() {
    for (int i = 0; i < 2000 && scheduler_->has_work(); ++i) step();
    EXPECT_FALSE(scheduler_->has_work());
  }
  static std::vector<std::pair<SequenceId, size_t>> rows(const ScheduledStep& step) {
    std::vector<std::pair<SequenceId, size_t>> result;
    for (const auto& chunk : step.plan.chunks)
      result.emplace_back(chunk.sequence_id, chunk.tokens.size());
    return result;
  }
  std::vector<int32_t> tokens_of(SequenceId id) const {
    std::vector<int32_t> tokens;
    for (const auto& event : events_) {
      if (const auto* token = std::get_if<GeneratedToken>(&event.what); token && event.id == id)
        tokens.push_back(token->id);
    }
    return tokens;
  }
  const GenerationEnd* end_of(SequenceId id) const {
    for (const auto& event : events_) {
      if (const auto* end = std::get_if<GenerationEnd>(&event.what); end && event.id == id)
        return end;
    }
    return nullptr;
  }

  using Rows = std::vector<std::pair<SequenceId, size_t>>;
  Journal journal_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<FakeRanks> ranks_;
  std::vector<SequenceEvent> events_;
  SequenceId last_id_ = 0;
  int64_t step_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_ENGINE_SCHEDULER_FIXTURE_H_
