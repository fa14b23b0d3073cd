#ifndef CONCLAVE_COORDINATOR_ENGINE_ENGINE_IMPL_H_
#define CONCLAVE_COORDINATOR_ENGINE_ENGINE_IMPL_H_

// The engine's one thread: takes submissions, turns them into steps, and results into calls of
// listeners.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coordinator/engine/create_engine.h"
#include "coordinator/engine/journal.h"
#include "coordinator/engine/scheduler.h"
#include "coordinator/engine/worker_group.h"

namespace conclave::coordinator {

class EngineImpl : public Engine {
 public:
  EngineImpl(EngineOptions options, int64_t placement_epoch,
             std::unique_ptr<GroupTransport> transport);
  ~EngineImpl() override;
  void start();

  absl::StatusOr<SequenceId> submit(GenerationRequest request,
                                    std::shared_ptr<GenerationListener> listener) override;
  void cancel(SequenceId id) override;
  EngineStatus status() const override;
  void drain() override;
  bool drained() const override;

 private:
  using Time = SteadyClock::time_point;
  struct Submission {
    SequenceId id = 0;
    GenerationRequest request;
    std::shared_ptr<GenerationListener> listener;
    Time queued;
  };
  // An accepted request seen from the client's side.
  struct Client {
    std::shared_ptr<GenerationListener> listener;
    Time queued;
    Time last_token;
  };
  struct Mail {
    std::vector<Submission> submissions;
    std::vector<SequenceId> cancellations;
    bool stop = false;
  };

  absl::Status check_admission(const GenerationRequest& request) const;  // mutex_ held
  absl::Status check_request(const GenerationRequest& request) const;    // mutex_ held
  void run();
  Mail wait_for_mail(Time until);
  Time next_wake(Time now) const;
  void handle_mail(Mail mail, Time now);
  void handle_group_event(GroupEvent event, Time now);
  void handle_ready(const GroupReady& ready, Time now);
  void handle_result(GroupResult result, Time now);
  void handle_failure(const GroupFailed& failed, Time now);
  void admit(JournalEntry* entry);
  void pump(Time now);
  void observe_plan(const ScheduledStep& step, Time now);
  void deliver(SequenceEvent event, Time now);
  void end(SequenceId id, GenerationEnd end, Time now);
  void end_all(const absl::Status& why, bool keep_replayable);
  size_t queued() const;  // mutex_ held
  void publish(Time now, bool force);
  void ring();

  const EngineOptions options_;
  const int64_t placement_epoch_;
  EngineObserver no_observer_;
  EngineObserver* const observer_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable bell_;
  bool rung_ = false;
  Mail mail_;
  size_t in_transit_ = 0;  // submissions taken from mail_, not yet in status_.waiting
  bool draining_ = false;
  SequenceId next_id_ = 1;
  int64_t open_ = 0;  // accepted and not ended
  EngineStatus status_;

  // Of the engine's thread. The group rings the bell until it is gone, so it goes first.
  WorkerGroup group_;
  bool group_gone_ = false;  // failed for good
  Journal journal_;
  std::map<SequenceId, Client> clients_;
  std::unique_ptr<Scheduler> scheduler_;  // while the group is ready
  std::string fingerprint_;               // of the last ready group: model and kernel set
  int64_t next_step_ = 1;
  Time idle_since_;
  Time published_at_;
  GroupState published_state_ = GroupState::kStopped;
  int64_t published_restarts_ = 0;
  std::vector<protocol::Ready> ready_;
  std::string kernel_set_;

  std::thread thread_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_ENGINE_IMPL_H_
