// What operators ask of EngineImpl: who is in it, and to let nobody else in for a while.

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "coordinator/engine/engine_impl.h"
#include "coordinator/engine/readiness.h"

namespace conclave::coordinator {

void EngineImpl::cordon(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (!draining_ && !cordoned_) closed_since_ = unix_time();
  cordoned_ = true;
  cordon_reason_ = std::move(reason);
}

void EngineImpl::uncordon() {
  const std::lock_guard lock(mutex_);
  if (cordoned_ && !draining_) closed_since_ = unix_time();
  cordoned_ = false;
  cordon_reason_.clear();
}

void EngineImpl::note_handover(std::string successor) {
  const std::lock_guard lock(mutex_);
  status_.handed_over_to = std::move(successor);
  closed_since_ = unix_time();
}

absl::StatusOr<std::vector<RequestStatus>> EngineImpl::requests(
    std::chrono::milliseconds patience) const {
  auto query = std::make_shared<std::promise<std::vector<RequestStatus>>>();
  std::future<std::vector<RequestStatus>> answer = query->get_future();
  {
    const std::lock_guard lock(mutex_);
    mail_.queries.push_back(std::move(query));
    rung_ = true;
    bell_.notify_one();
  }
  // A query that the engine's thread never reads breaks its promise when the engine ends.
  if (answer.wait_for(patience) != std::future_status::ready) {
    return absl::UnavailableError("the engine did not list its requests in time; try again");
  }
  return answer.get();
}

void EngineImpl::start_trace(int32_t steps) {
  const std::lock_guard lock(mutex_);
  trace_ = TraceStatus{steps, steps > 0, {}};
  trace_left_ = steps;
  trace_began_ = SteadyClock::now();
}

void EngineImpl::stop_trace() {
  const std::lock_guard lock(mutex_);
  trace_left_ = 0;
  trace_.running = false;
}

TraceStatus EngineImpl::trace() const {
  const std::lock_guard lock(mutex_);
  return trace_;
}

void EngineImpl::set_rank_log_level(LogLevel level) {
  const std::lock_guard lock(mutex_);
  rank_log_level_ = static_cast<int8_t>(level);
}

// What operators asked for rides on the next plan.
void EngineImpl::mark_plan(protocol::StepPlan* plan) {
  const std::lock_guard lock(mutex_);
  plan->log_level = rank_log_level_;
  if (trace_left_ == 0) return;
  --trace_left_;
  plan->trace = true;
}

void EngineImpl::keep_trace(const GroupResult& result, Time now) {
  const auto& ranks = result.result.ranks;
  if (ranks.empty() || ranks.front().spans.empty()) return;
  const std::lock_guard lock(mutex_);
  if (!trace_.running) return;
  const double end = std::chrono::duration<double>(now - trace_began_).count();
  trace_.steps.push_back({result.result.step, end - result.seconds, result.seconds, ranks});
  trace_.running = static_cast<int32_t>(trace_.steps.size()) < trace_.wanted;
}

void EngineImpl::log_end(const JournalEntry& entry, const GenerationEnd& end) {
  const bool failed = end.reason == FinishReason::kError;
  const LogLevel level = failed ? LogLevel::kWarning : LogLevel::kDebug;
  if (!log_enabled(level)) return;
  constexpr const char* kReasons[] = {"stop", "length", "cancelled", "error"};
  log(level, failed ? "request failed" : "request finished",
      {{"request_id", entry.request.request_id},
       {"sequence", absl::StrCat(entry.id)},
       {"reason", kReasons[static_cast<size_t>(end.reason)]},
       {"generated_tokens", absl::StrCat(entry.emitted.size())},
       {"why", std::string(end.error.message())}});
}

void EngineImpl::begin_replacement(const placement::PlacementTable& target, Time now) {
  if (!rollout_.under_way()) return;  // it is in force already
  replacement_ = Replacement{now, arriving_experts(rollout_.table(), target), 0};
}

void EngineImpl::end_replacement(const char* result, Time now) {
  if (!replacement_) return;
  EngineObserver::Replacement done;
  done.result = result;
  done.seconds = std::chrono::duration<double>(now - replacement_->began).count();
  done.pause_seconds = replacement_->pause_seconds;
  if (done.result == "applied") {
    done.moved_experts = replacement_->moved_experts;
    done.moved_bytes = done.moved_experts * static_cast<int64_t>(ready_.front().expert_slot_bytes);
  }
  replacement_.reset();
  observer_->placement_replaced(done);
}

std::vector<RequestStatus> EngineImpl::request_statuses(Time now) {
  std::vector<RequestStatus> result;
  for (const auto& [id, entry] : journal_.entries()) {
    RequestStatus& status = result.emplace_back();
    status.id = id;
    status.request_id = entry.request.request_id;
    status.prompt_tokens = static_cast<int32_t>(entry.request.prompt.size());
    status.generated_tokens = static_cast<int32_t>(entry.emitted.size());
    status.max_tokens = entry.request.max_tokens;
    status.priority = entry.request.priority;
    status.client = entry.request.client;
    status.replays = entry.replays;
    status.age_seconds = std::chrono::duration<double>(now - clients_.at(id).queued).count();
    const Sequence* sequence = scheduler_ != nullptr ? scheduler_->find(id) : nullptr;
    if (sequence == nullptr) continue;
    status.rank = sequence->home;
    status.running = sequence->home >= 0;
    status.computed_tokens = sequence->computed;
    status.kv_blocks = static_cast<int32_t>(sequence->blocks.size());
  }
  return result;
}

}  // namespace conclave::coordinator
