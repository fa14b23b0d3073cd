#ifndef CONCLAVE_TESTS_COORDINATOR_OPENAI_FAKE_ENGINE_H_
#define CONCLAVE_TESTS_COORDINATOR_OPENAI_FAKE_ENGINE_H_

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

// The test says what each accepted request gets, in the order of submission.
class FakeEngine : public Engine {
 public:
  FakeEngine();

  absl::StatusOr<SequenceId> submit(GenerationRequest request,
                                    std::shared_ptr<GenerationListener> listener) override;
  // Ends the request as cancelled, as the real engine does.
  void cancel(SequenceId id) override;
  EngineStatus status() const override;
  void end_requests(absl::Status why) override;
  void drain() override;
  bool drained() const override { return true; }
  void cordon(std::string reason) override;
  void uncordon() override;
  absl::StatusOr<std::vector<RequestStatus>> requests(
      std::chrono::milliseconds patience) const override;
  void start_trace(int32_t steps) override;
  void stop_trace() override;
  TraceStatus trace() const override;
  void set_rank_log_level(LogLevel level) override;
  std::optional<LogLevel> rank_log_level() const;

  void set_status(std::function<void(EngineStatus&)> change);
  // The next submissions fail with this; OK: they succeed.
  void set_submit_status(absl::Status status);
  // Called after each submission, on the submitter's thread, with its index.
  void set_on_submit(std::function<void(size_t index)> callback);

  // True once `count` requests were accepted (or cancelled) in all.
  bool wait_submitted(size_t count);
  bool wait_cancelled(size_t count);
  size_t submitted() const;
  GenerationRequest request(size_t index) const;
  bool cancelled(size_t index) const;

  void token(size_t index, int32_t id, float logprob = -0.5f,
             std::vector<protocol::TokenLogprob> top = {});
  void prompt(size_t index, PromptPart part);
  void end(size_t index, FinishReason reason, int32_t cached = 0,
           std::optional<int32_t> stop_token = std::nullopt);
  void fail(size_t index, absl::Status status);

 private:
  struct Sequence {
    GenerationRequest request;
    std::shared_ptr<GenerationListener> listener;  // null: ended
    bool cancelled = false;
  };
  std::shared_ptr<GenerationListener> listener(size_t index) const;
  void finish(size_t index, GenerationEnd end);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  EngineStatus status_;
  absl::Status submit_status_;
  std::function<void(size_t)> on_submit_;
  std::vector<Sequence> sequences_;
  TraceStatus trace_;
  std::optional<LogLevel> rank_log_level_;
  size_t cancelled_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_OPENAI_FAKE_ENGINE_H_
