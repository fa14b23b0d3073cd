#ifndef CONCLAVE_WORKER_HEALTH_REPORTER_H_
#define CONCLAVE_WORKER_HEALTH_REPORTER_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "comm/channel/channel.h"
#include "worker/step_progress.h"

namespace conclave::worker {

// Tells the coordinator every kHealthPeriodMs what the step thread does, from a thread of its own, so that
// a stuck step is seen. Also the first to notice that the coordinator is gone.
class HealthReporter {
 public:
  // channel and progress outlive the reporter. on_lost: see WorkerEnvironment::on_fatal.
  HealthReporter(comm::Channel* channel, const StepProgress* progress,
                 std::function<void(absl::Status)> on_lost);
  ~HealthReporter();  // stops the thread
  HealthReporter(const HealthReporter&) = delete;
  HealthReporter& operator=(const HealthReporter&) = delete;

 private:
  void run();
  absl::Status report();
  bool stopped_within_ms(int64_t duration_ms);

  comm::Channel* channel_;
  const StepProgress* progress_;
  std::function<void(absl::Status)> on_lost_;
  std::mutex mutex_;
  std::condition_variable stop_changed_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_HEALTH_REPORTER_H_
