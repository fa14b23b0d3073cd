// The half of EngineImpl that other threads call.

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/engine/engine_impl.h"
#include "coordinator/engine/readiness.h"

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
  const auto beyond = std::find_if(request.prompt.begin(), request.prompt.end(),
                                   [this](int32_t token) { return token >= options_.vocab; });
  if (options_.vocab > 0 && beyond != request.prompt.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has token ", *beyond, " at position ",
                     beyond - request.prompt.begin(), ", but the model's vocabulary ends at ",
                     options_.vocab - 1, "; do tokenizer.json and the weights belong together?"));
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
  if (cordoned_) {
    return absl::UnavailableError(
        absl::StrCat("the server is cordoned and takes no new requests: ", cordon_reason_));
  }
  if (status_.state == GroupState::kFailed) {
    return absl::UnavailableError(
        "the worker group failed and is not ready again yet; try again in a moment");
  }
  if (status_.state != GroupState::kReady) {
    return absl::UnavailableError("the worker group is still starting; try again in a moment");
  }
  RETURN_IF_ERROR(check_request(request));
  return request.probe ? absl::OkStatus() : check_queue(request);
}

// A full queue refuses those who filled it, and not the client that has less than its share.
absl::Status EngineImpl::check_queue(const GenerationRequest& request) const {
  // Those that a free place awaits do not wait for long.
  const int32_t places = options_.max_queue + std::max(0, options_.max_running - status_.running);
  if (queued() < static_cast<size_t>(places)) return absl::OkStatus();
  const int64_t capacity = int64_t{options_.max_queue} + options_.max_running;
  if (open_.below_share(request.client, request.client_weight, capacity)) return absl::OkStatus();
  std::string why = absl::StrCat(queued(), " requests wait already, which is the limit");
  const int64_t own = open_.open(request.client);
  if (own < open_.total()) absl::StrAppend(&why, ", and ", own, " of those that are open have this key");
  return absl::ResourceExhaustedError(why + "; try again in a moment");
}

absl::StatusOr<SequenceId> EngineImpl::submit(GenerationRequest request,
                                              std::shared_ptr<GenerationListener> listener) {
  const auto prompt_tokens = static_cast<int32_t>(request.prompt.size());
  const std::string request_id = request.request_id;
  EngineObserver& observer = observer_of(request.probe);
  absl::Status status;
  SequenceId id = 0;
  {
    const std::lock_guard lock(mutex_);
    status = check_admission(request);
    if (status.ok()) {
      id = next_id_++;
      open_.opened(request.client, request.client_weight);
      mail_.submissions.push_back(
          {id, std::move(request), std::move(listener), SteadyClock::now()});
      rung_ = true;
      bell_.notify_one();
    }
  }
  if (!status.ok()) {
    observer.request_refused(status.code());
    log_debug("request refused",
              {{"request_id", request_id}, {"why", std::string(status.message())}});
    return status;
  }
  observer.request_queued(prompt_tokens);
  if (log_enabled(LogLevel::kDebug)) {
    log_debug("request accepted", {{"request_id", request_id},
                                   {"sequence", absl::StrCat(id)},
                                   {"prompt_tokens", absl::StrCat(prompt_tokens)}});
  }
  return id;
}

void EngineImpl::cancel(SequenceId id) {
  const std::lock_guard lock(mutex_);
  mail_.cancellations.push_back(id);
  rung_ = true;
  bell_.notify_one();
}

void EngineImpl::end_requests(absl::Status why) {
  const std::lock_guard lock(mutex_);
  mail_.end_requests = std::move(why);
  rung_ = true;
  bell_.notify_one();
}

size_t EngineImpl::queued() const {
  return mail_.submissions.size() + in_transit_ + static_cast<size_t>(status_.waiting);
}

EngineStatus EngineImpl::status() const {
  const std::lock_guard lock(mutex_);
  EngineStatus status = status_;
  status.draining = draining_ || cordoned_;
  if (cordoned_) status.cordon_reason = cordon_reason_;
  status.open = open_.total();
  status.since = state_since_;
  // Closed and not ready: since the earlier. Reopened: since then.
  if (status.draining && status.state == GroupState::kReady) status.since = closed_since_;
  if (status.draining && status.state != GroupState::kReady) status.since = std::min(state_since_, closed_since_);
  if (!status.draining) status.since = std::max(state_since_, closed_since_);
  status.waiting = static_cast<int32_t>(queued());
  if (status.draining && status.state == GroupState::kReady) status.state = GroupState::kDraining;
  return status;
}

PlacementStatus EngineImpl::placement() const {
  PlacementStatus status;
  const std::lock_guard lock(mutex_);
  if (published_rollout_.table().layers() == 0) return status;
  status.table = std::make_shared<const placement::PlacementTable>(published_rollout_.table());
  status.applying = published_rollout_.under_way() || mail_.placement.has_value();
  status.target_epoch = published_rollout_.target_epoch();
  status.stages_left = static_cast<int32_t>(published_rollout_.stages_left());
  status.last_failure = published_rollout_.failure();
  status.expert_slot_bytes = expert_slot_bytes_;
  status.last_pause_seconds = last_pause_seconds_;
  status.remote_fraction = expert_rows_ > 0 ? remote_rows_ / expert_rows_ : 0;
  status.expert_slots = status_.state == GroupState::kReady ? expert_slots_ : 0;
  return status;
}

absl::Status EngineImpl::apply_placement(const placement::PlacementTable& target) {
  const std::lock_guard lock(mutex_);
  if (published_rollout_.table().layers() == 0) {
    return absl::FailedPreconditionError("the model has no routed experts to place");
  }
  if (mail_.placement) {
    return absl::FailedPreconditionError("a placement is being applied already; wait for it");
  }
  const std::string& fingerprint = status_.model_fingerprint;
  RETURN_IF_ERROR(target.check_fits(target.moe_layers(), target.experts(), target.ranks(), fingerprint));
  // The copy says under way as long as the engine's thread has more to do, or has not looked yet.
  PlacementRollout probe = published_rollout_;
  RETURN_IF_ERROR(probe.begin(target));
  published_rollout_ = std::move(probe);
  mail_.placement = target;
  rung_ = true;
  bell_.notify_one();
  return absl::OkStatus();
}

void EngineImpl::drain() {
  const std::lock_guard lock(mutex_);
  if (!draining_ && !cordoned_) closed_since_ = unix_time();
  draining_ = true;
}

bool EngineImpl::drained() const {
  const std::lock_guard lock(mutex_);
  return draining_ && open_.total() == 0;
}

}  // namespace conclave::coordinator
