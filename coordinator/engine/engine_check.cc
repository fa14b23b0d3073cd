// The part of EngineImpl between a loaded group and one that serves: the start-up check.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "coordinator/engine/engine_impl.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kCheckTokens = 8;

}  // namespace

void EngineImpl::begin_check(Time now) {
  std::vector<int32_t> prompt = options_.startup_prompt;
  const int32_t room = scheduler_->max_model_len();
  if (prompt.empty() || room < 1) return begin_serving();
  prompt.resize(std::min(prompt.size(), static_cast<size_t>(std::max(1, room - 1))));
  const int32_t tokens = std::min(kCheckTokens, room - static_cast<int32_t>(prompt.size()));
  check_ = std::make_unique<StartupCheck>(prompt, tokens, options_.vocab, options_.ranks);
  check_warning_.clear();
  for (StartupCheck::Probe& probe : check_->probes()) {
    SequenceId id = 0;
    {
      const std::lock_guard lock(mutex_);
      id = next_id_++;
      open_.opened(probe.request.client, probe.request.client_weight);
    }
    clients_[id] = {std::move(probe.listener), now, now};
    admit(journal_.open(id, std::move(probe.request)));
  }
}

void EngineImpl::finish_check(Time now) {
  const absl::Status verdict = check_->verdict();
  if (absl::IsInvalidArgument(verdict))
    return group_.fail(std::string(verdict.message()), now, FailureKind::kRefusal);
  if (!verdict.ok()) {  // somebody ended it
    check_.reset();
    return draining() ? begin_serving() : begin_check(now);
  }
  // Random weights of a benchmark say nothing worth a warning.
  if (options_.configure.dummy_shape_json.empty()) check_warning_ = check_->warning();
  if (!check_warning_.empty()) log_warning(check_warning_);
  check_.reset();
  begin_serving();
}

// The group is gone: what was asked is not asked again, the next group has a check of its own.
void EngineImpl::end_check(const absl::Status& why) {
  if (check_ == nullptr) return;
  std::vector<SequenceId> probes;
  for (const auto& [id, entry] : journal_.entries()) {
    if (entry.request.probe) probes.push_back(id);
  }
  GenerationEnd gone;
  gone.reason = FinishReason::kCancelled;
  gone.error = why;
  for (const SequenceId id : probes) end(id, gone, SteadyClock::now());
  check_.reset();
}

// What waited for the group, replays first of all, goes into its scheduler.
void EngineImpl::begin_serving() {
  group_.confirm();
  std::vector<JournalEntry*> waiting;  // admit() may close entries
  for (auto& [id, entry] : journal_.entries()) waiting.push_back(&entry);
  for (JournalEntry* entry : waiting) {
    if (scheduler_->find(entry->id) == nullptr) admit(entry);
  }
}

bool EngineImpl::draining() const {
  const std::lock_guard lock(mutex_);
  return draining_;
}

}  // namespace conclave::coordinator
