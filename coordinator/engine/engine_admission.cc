// The half of EngineImpl that other threads call.

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/engine/engine_impl.h"

namespace conclave::coordinator {

absl::Status EngineImpl::check_request(const GenerationRequest& request) const {
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  if (request.max_tokens < 0)
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens is ", request.max_tokens, "; it must be 0 or more"));
  if (std::any_of(request.prompt.begin(), request.prompt.end(),
                  [](int32_t token) { return token < 0; })) {
    return absl::InvalidArgumentError("the prompt has a negative token id");
  }
  const size_t needed = request.prompt.size() + (request.max_tokens > 0 ? 1 : 0);
  if (needed > static_cast<size_t>(status_.max_model_len)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", request.prompt.size(),
                     " tokens, but prompt and output together may have at most ",
                     status_.max_model_len, "; send a shorter prompt"));
  }
  return absl::OkStatus();
}

absl::Status EngineImpl::check_admission(const GenerationRequest& request) const {
  if (draining_)
    return absl::UnavailableError("the server is shutting down and takes no new requests");
  if (status_.state == GroupState::kFailed) {
    return absl::UnavailableError(
        "the worker group failed and is not ready again yet; try again in a moment");
  }
  if (status_.state != GroupState::kReady) {
    return absl::UnavailableError("the worker group is still starting; try again in a moment");
  }
  RETURN_IF_ERROR(check_request(request));
  if (queued() >= static_cast<size_t>(options_.max_queue)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        queued(), " requests wait already, which is the limit; try again in a moment"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SequenceId> EngineImpl::submit(GenerationRequest request,
                                              std::shared_ptr<GenerationListener> listener) {
  const auto prompt_tokens = static_cast<int32_t>(request.prompt.size());
  absl::Status status;
  SequenceId id = 0;
  {
    const std::lock_guard lock(mutex_);
    status = check_admission(request);
    if (status.ok()) {
      id = next_id_++;
      ++open_;
      mail_.submissions.push_back(
          {id, std::move(request), std::move(listener), SteadyClock::now()});
      rung_ = true;
      bell_.notify_one();
    }
  }
  if (!status.ok()) {
    observer_->request_refused(status.code());
    return status;
  }
  observer_->request_queued(prompt_tokens);
  return id;
}

void EngineImpl::cancel(SequenceId id) {
  const std::lock_guard lock(mutex_);
  mail_.cancellations.push_back(id);
  rung_ = true;
  bell_.notify_one();
}

size_t EngineImpl::queued() const {
  return mail_.submissions.size() + in_transit_ + static_cast<size_t>(status_.waiting);
}

EngineStatus EngineImpl::status() const {
  const std::lock_guard lock(mutex_);
  EngineStatus status = status_;
  status.draining = draining_;
  status.waiting = static_cast<int32_t>(queued());
  if (draining_ && status.state == GroupState::kReady) status.state = GroupState::kDraining;
  return status;
}

void EngineImpl::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

bool EngineImpl::drained() const {
  const std::lock_guard lock(mutex_);
  return draining_ && open_ == 0;
}

}  // namespace conclave::coordinator
