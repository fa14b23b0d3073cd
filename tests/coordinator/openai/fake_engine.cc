#include "tests/coordinator/openai/fake_engine.h"

#include <chrono>
#include <utility>

namespace conclave::coordinator {
namespace {

constexpr std::chrono::seconds kPatience{20};

}  // namespace

FakeEngine::FakeEngine() {
  status_.state = GroupState::kReady;
  status_.max_model_len = 128;
  status_.kernel_set = "reference";
  status_.compute = "f32";
  status_.transport = "local";
  status_.model_fingerprint = "0123456789abcdef";
}

absl::StatusOr<SequenceId> FakeEngine::submit(GenerationRequest request,
                                              std::shared_ptr<GenerationListener> listener) {
  std::function<void(size_t)> on_submit;
  size_t index = 0;
  {
    std::lock_guard lock(mutex_);
    if (!submit_status_.ok()) return submit_status_;
    index = sequences_.size();
    sequences_.push_back({std::move(request), std::move(listener), false});
    on_submit = on_submit_;
  }
  changed_.notify_all();
  if (on_submit) on_submit(index);
  return static_cast<SequenceId>(index + 1);
}

void FakeEngine::cancel(SequenceId id) {
  const size_t index = static_cast<size_t>(id) - 1;
  {
    std::lock_guard lock(mutex_);
    Sequence& sequence = sequences_[index];
    if (sequence.listener == nullptr) return;
    sequence.cancelled = true;
    ++cancelled_;
  }
  changed_.notify_all();
  GenerationEnd end;
  end.reason = FinishReason::kCancelled;
  finish(index, std::move(end));
}

EngineStatus FakeEngine::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void FakeEngine::end_requests(absl::Status why) {
  for (size_t i = 0; i < submitted(); ++i) {
    if (listener(i) != nullptr) fail(i, why);
  }
}

void FakeEngine::drain() {
  set_status([](EngineStatus& status) { status.draining = true; });
}

// One step on one rank is traced at once.
void FakeEngine::start_trace(int32_t steps) {
  std::lock_guard lock(mutex_);
  protocol::RankTiming timing;
  timing.spans = {{"attention", 0, 0.0, 0.001}, {"dispatch wait", 0, 0.001, 0.003}};
  trace_ = {steps, steps > 1, {{7, 0.5, 0.004, {timing}}}};
}

void FakeEngine::stop_trace() {
  std::lock_guard lock(mutex_);
  trace_.running = false;
}

TraceStatus FakeEngine::trace() const {
  std::lock_guard lock(mutex_);
  return trace_;
}

void FakeEngine::set_rank_log_level(LogLevel level) {
  std::lock_guard lock(mutex_);
  rank_log_level_ = level;
}

std::optional<LogLevel> FakeEngine::rank_log_level() const {
  std::lock_guard lock(mutex_);
  return rank_log_level_;
}

void FakeEngine::cordon(std::string reason) {
  set_status([&](EngineStatus& status) {
    status.draining = true;
    status.cordon_reason = std::move(reason);
  });
}

void FakeEngine::uncordon() {
  set_status([](EngineStatus& status) {
    status.draining = false;
    status.cordon_reason.clear();
  });
}

absl::StatusOr<std::vector<RequestStatus>> FakeEngine::requests(std::chrono::milliseconds) const {
  std::lock_guard lock(mutex_);
  std::vector<RequestStatus> open;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i].listener == nullptr) continue;
    RequestStatus& request = open.emplace_back();
    request.id = static_cast<SequenceId>(i + 1);
    request.request_id = sequences_[i].request.request_id;
    request.prompt_tokens = static_cast<int32_t>(sequences_[i].request.prompt.size());
    request.max_tokens = sequences_[i].request.max_tokens;
  }
  return open;
}

void FakeEngine::set_status(std::function<void(EngineStatus&)> change) {
  std::lock_guard lock(mutex_);
  change(status_);
}

void FakeEngine::set_submit_status(absl::Status status) {
  std::lock_guard lock(mutex_);
  submit_status_ = std::move(status);
}

void FakeEngine::set_on_submit(std::function<void(size_t)> callback) {
  std::lock_guard lock(mutex_);
  on_submit_ = std::move(callback);
}

bool FakeEngine::wait_submitted(size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return sequences_.size() >= count; });
}

bool FakeEngine::wait_cancelled(size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return cancelled_ >= count; });
}

size_t FakeEngine::submitted() const {
  std::lock_guard lock(mutex_);
  return sequences_.size();
}

GenerationRequest FakeEngine::request(size_t index) const {
  std::lock_guard lock(mutex_);
  return sequences_.at(index).request;
}

bool FakeEngine::cancelled(size_t index) const {
  std::lock_guard lock(mutex_);
  return sequences_.at(index).cancelled;
}

std::shared_ptr<GenerationListener> FakeEngine::listener(size_t index) const {
  std::lock_guard lock(mutex_);
  return sequences_.at(index).listener;
}

void FakeEngine::token(size_t index, int32_t id, float logprob,
                       std::vector<protocol::TokenLogprob> top) {
  if (const auto to = listener(index)) to->on_token({id, logprob, std::move(top)});
}

void FakeEngine::prompt(size_t index, PromptPart part) {
  if (const auto to = listener(index)) to->on_prompt(std::move(part));
}

void FakeEngine::end(size_t index, FinishReason reason, int32_t cached,
                     std::optional<int32_t> stop_token) {
  GenerationEnd end;
  end.reason = reason;
  end.cached_prompt_tokens = cached;
  end.stop_token = stop_token;
  finish(index, std::move(end));
}

void FakeEngine::fail(size_t index, absl::Status status) {
  GenerationEnd end;
  end.reason = FinishReason::kError;
  end.error = std::move(status);
  finish(index, std::move(end));
}

void FakeEngine::finish(size_t index, GenerationEnd end) {
  std::shared_ptr<GenerationListener> to;
  {
    std::lock_guard lock(mutex_);
    to = std::exchange(sequences_.at(index).listener, nullptr);
  }
  if (to != nullptr) to->on_end(std::move(end));
}

}  // namespace conclave::coordinator
