#include "worker/health_reporter.h"

#include <chrono>
#include <utility>

#include "protocol/messages.h"

namespace conclave::worker {
namespace {

// How long the step thread may take to notice by itself that its coordinator is gone.
constexpr int64_t kLossGraceMs = 1000;
constexpr int64_t kSendDeadlineMs = 1000;

}  // namespace

HealthReporter::HealthReporter(comm::Channel* channel, const StepProgress* progress,
                               std::function<void(absl::Status)> on_lost)
    : channel_(channel), progress_(progress), on_lost_(std::move(on_lost)) {
  thread_ = std::thread([this] { run(); });
}

HealthReporter::~HealthReporter() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  thread_.join();
}

bool HealthReporter::stopped_within_ms(int64_t duration_ms) {
  std::unique_lock lock(mutex_);
  return stop_changed_.wait_for(lock, std::chrono::milliseconds(duration_ms),
                                [this] { return stop_; });
}

absl::Status HealthReporter::report() {
  const StepProgress::Snapshot now = progress_->read();
  protocol::Health health;
  health.step = now.step;
  health.layer = now.layer;
  health.operation = now.operation;
  health.operation_age_seconds = now.age_seconds;
  return channel_->send(static_cast<uint16_t>(protocol::MessageType::kHealth),
                        protocol::encode(health), Deadline::after_ms(kSendDeadlineMs));
}

void HealthReporter::run() {
  while (!stopped_within_ms(protocol::kHealthPeriodMs)) {
    const absl::Status status = report();
    if (!absl::IsUnavailable(status)) continue;
    if (!stopped_within_ms(kLossGraceMs) && on_lost_ != nullptr) on_lost_(status);
    return;
  }
}

}  // namespace conclave::worker
