#ifndef CONCLAVE_COORDINATOR_ENGINE_ENGINE_IMPL_H_
#define CONCLAVE_COORDINATOR_ENGINE_ENGINE_IMPL_H_

// The engine's one thread: takes submissions, turns them into steps, and results into calls of
// listeners.

#include <condition_variable>
#include <cstdint>
#include <future>
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
#include "coordinator/engine/placement_rollout.h"
#include "coordinator/engine/queue_shares.h"
#include "coordinator/engine/scheduler.h"
#include "coordinator/engine/startup_check.h"
#include "coordinator/engine/worker_group.h"

namespace conclave::coordinator {

class EngineImpl : public Engine {
 public:
  EngineImpl(EngineOptions options, placement::PlacementTable table,
             std::unique_ptr<GroupTransport> transport);
  ~EngineImpl() override;
  void start();

  absl::StatusOr<SequenceId> submit(GenerationRequest request,
                                    std::shared_ptr<GenerationListener> listener) override;
  void cancel(SequenceId id) override;
  void end_requests(absl::Status why) override;
  EngineStatus status() const override;
  PlacementStatus placement() const override;
  absl::Status apply_placement(const placement::PlacementTable& target) override;
  void drain() override;
  bool drained() const override;
  void cordon(std::string reason) override;
  void uncordon() override;
  void note_handover(std::string successor) override;
  absl::StatusOr<std::vector<RequestStatus>> requests(
      std::chrono::milliseconds patience) const override;
  void start_trace(int32_t steps) override;
  void stop_trace() override;
  TraceStatus trace() const override;
  void set_rank_log_level(LogLevel level) override;

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
  using RequestsQuery = std::shared_ptr<std::promise<std::vector<RequestStatus>>>;
  struct ClientTokens {
    int64_t prompt = 0, generated = 0;
  };
  struct Mail {
    std::vector<Submission> submissions;
    std::vector<SequenceId> cancellations;
    std::vector<RequestsQuery> queries;
    std::optional<absl::Status> end_requests;
    std::optional<placement::PlacementTable> placement;
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
  void begin_check(Time now);
  void finish_check(Time now);
  void end_check(const absl::Status& why);
  void begin_serving();
  bool draining() const;
  void pump(Time now);
  void plan_next(Time now);
  void plan_ahead(Time now);
  void send_scheduled(ScheduledStep step, Time now);
  void send(protocol::StepPlan plan, Time now);
  void finish_step_of_rollout(const GroupResult& result);
  void publish_placement();
  bool choose_coherent(const GroupReady& ready) const;
  void count_remote_rows(const std::vector<protocol::RankTiming>& ranks);
  void observe_plan(const ScheduledStep& step, Time now);
  // Probes are no clients: what happens to them is nobody's latency and nobody's tokens.
  EngineObserver& observer_of(bool probe) { return probe ? no_observer_ : *observer_; }
  // Of whole steps: those of the start-up check are nobody's either.
  EngineObserver& step_observer() { return observer_of(check_ != nullptr); }
  void deliver(SequenceEvent event, Time now);
  void end(SequenceId id, GenerationEnd end, Time now);
  void end_all(const absl::Status& why, bool keep_replayable);
  size_t queued() const;  // mutex_ held
  absl::Status check_queue(const GenerationRequest& request) const;  // mutex_ held
  void publish_clients();
  std::vector<RequestStatus> request_statuses(Time now);
  static void log_end(const JournalEntry& entry, const GenerationEnd& end);
  void begin_replacement(const placement::PlacementTable& target, Time now);
  void end_replacement(const char* result, Time now);
  void mark_plan(protocol::StepPlan* plan);
  void keep_trace(const GroupResult& result, Time now);
  void publish(Time now, bool force);
  void ring();

  const EngineOptions options_;
  EngineObserver no_observer_;
  EngineObserver* const observer_;

  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable bell_;
  mutable bool rung_ = false;
  mutable Mail mail_;
  size_t in_transit_ = 0;  // submissions taken from mail_, not yet in status_.waiting
  bool draining_ = false;
  bool cordoned_ = false;
  std::string cordon_reason_;
  TraceStatus trace_;
  int32_t trace_left_ = 0;  // steps still to be planned with a trace
  Time trace_began_;
  int8_t rank_log_level_ = -1;
  SequenceId next_id_ = 1;
  QueueShares open_;  // accepted and not ended
  double state_since_ = 0, closed_since_ = 0;  // Unix times: of status_.state; of a drain or cordon
  EngineStatus status_;
  PlacementRollout published_rollout_;  // a copy, to answer from
  uint64_t expert_slot_bytes_ = 0;
  int32_t expert_slots_ = 0;
  double last_pause_seconds_ = 0;
  double remote_rows_ = 0, expert_rows_ = 0;  // aged

  // Of the engine's thread. The group rings the bell until it is gone, so it goes first.
  WorkerGroup group_;
  bool group_gone_ = false;  // failed for good
  struct Replacement {
    Time began;
    int64_t moved_experts = 0;
    double pause_seconds = 0;
  };
  std::optional<Replacement> replacement_;  // under way
  Journal journal_;
  std::map<SequenceId, Client> clients_;
  std::unique_ptr<Scheduler> scheduler_;  // while the group is ready
  std::unique_ptr<StartupCheck> check_;   // until the group's answers to it have come
  std::string check_warning_;
  std::string model_;                     // fingerprint of the first ready group's; no other is served
  std::string fingerprint_;               // of the last ready group: model and kernel set
  PlacementRollout rollout_;
  bool control_step_ = false;  // the step in flight has no rows of the scheduler's
  std::optional<protocol::StepPlan> recorded_plan_;  // in flight, if its routing is recorded
  Time routing_reported_at_;
  int64_t next_step_ = 1;
  Time idle_since_;
  Time published_at_, clients_published_at_;
  bool clients_due_ = false, clients_shown_ = false;
  GroupState published_state_ = GroupState::kStopped;
  int64_t published_restarts_ = 0;
  std::map<std::string, ClientTokens> client_tokens_;  // not published yet
  std::vector<protocol::Ready> ready_;
  std::string kernel_set_;

  std::thread thread_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_ENGINE_IMPL_H_
