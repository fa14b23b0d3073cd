#ifndef CONCLAVE_COORDINATOR_ENGINE_WORKER_GROUP_H_
#define CONCLAVE_COORDINATOR_ENGINE_WORKER_GROUP_H_

// The coordinator's side of one worker group: from joining ranks to results, or to one sentence
// that says which rank failed, where and in what (law 4), and then the next start.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/deadline.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/group_configuration.h"
#include "coordinator/engine/group_inbox.h"
#include "coordinator/engine/group_transport.h"
#include "protocol/messages.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

struct GroupOptions {
  uint32_t group = 0;
  int32_t ranks = 1;
  protocol::Configure configure;  // template; kernel_set is an override
  ThreadOptions threads;
  std::chrono::milliseconds step_margin{1000};  // beyond StepPlan::deadline_ms
  std::chrono::milliseconds heartbeat_timeout{1500};
  std::chrono::milliseconds join_timeout{60000};
  std::chrono::milliseconds load_timeout{300000};
  std::chrono::milliseconds shutdown_grace{2000};
  bool restart = true;
  // Starts that may end with a death before the group is confirmed for the first time; 0: any number.
  // Counts for processes that are started here: ranks that come by themselves are waited for.
  int32_t start_attempts = 0;
  std::chrono::milliseconds backoff{200};
  std::chrono::milliseconds backoff_max{5000};
};

struct GroupReady {
  std::vector<protocol::Ready> ranks;
  std::string kernel_set;
};
struct GroupResult {
  protocol::StepResult result;
  double seconds = 0;  // since the plan was sent, or since the result before if that came later
};
struct GroupPrepared {  // of a placement update
  int32_t rank = 0;
  protocol::Prepared answer;
};
struct GroupFailed {
  absl::Status why;    // UNAVAILABLE; one sentence
  bool final = false;  // there will be no restart
};
using GroupEvent = std::variant<GroupReady, GroupResult, GroupPrepared, GroupFailed>;

// A death may pass; a refusal comes again with the same model and settings.
enum class FailureKind : uint8_t { kDeath, kRefusal };

// A state machine: belongs to one thread, which calls poll() when rung and at next_wake() at the
// latest.
class WorkerGroup {
 public:
  using Time = SteadyClock::time_point;

  // ring: called on any thread when poll() has something to do. It must not call back into the
  // group.
  WorkerGroup(GroupOptions options, std::unique_ptr<GroupTransport> transport,
              std::function<void()> ring);
  ~WorkerGroup();

  void start(Time now);
  std::vector<GroupEvent> poll(Time now);
  Time next_wake(Time now) const;

  GroupState state() const { return state_; }
  // Only when kReady and at most one step is in flight: ranks run plans in order, and one may wait
  // for another. Wakes the ranks if they sleep. A failure shows in the next poll().
  void send_plan(const protocol::StepPlan& plan, Time now);
  void send_sleep(int64_t step, Time now);
  bool asleep() const { return asleep_; }
  bool step_in_flight() const { return !in_flight_.empty(); }
  // What the ranks of the next start are told.
  void set_placement(std::string table_json) {
    options_.configure.placement_json = std::move(table_json);
  }
  // The scheduler or the engine found the group's answers unusable.
  void fail(const std::string& sentence, Time now, FailureKind kind = FailureKind::kDeath);
  // The group that became ready answers as it should: from now on failures of any kind restart it.
  void confirm() { confirmed_ = true; }
  // Tells the ranks to end; state() becomes kStopped in some later poll(), within a bounded time.
  void shut_down(Time now);

  std::vector<RankStatus> rank_status(Time now) const;
  const std::string& last_failure() const { return last_failure_; }
  const std::string& last_refusal() const {
    return last_refusal_;
  }  // of a connection that was no rank of ours
  int64_t restarts() const { return restarts_; }
  EngineStatus::StartFailure start_failure() const { return start_failure_; }
  int32_t start_attempts() const { return attempts_; }

 private:
  struct Connection {
    std::unique_ptr<comm::ChannelPeer> peer;
    int32_t rank = -1;  // before Join
    bool closing = false;
    Time since;
  };
  struct Rank {
    uint64_t connection = 0;  // 0: not joined
    protocol::Join join;
    protocol::LoadProgress load;
    std::optional<protocol::Ready> ready;
    std::optional<protocol::Health> health;
    Time heard;      // last frame of any kind
    Time health_at;  // last Health
    Time load_at;    // last LoadProgress, or Configure
  };
  struct InFlight {
    int64_t step = 0;
    std::chrono::milliseconds time{0};  // that it may take, from its begin
  };

  // A rank that went away in a step before its own heartbeat said where: the others' next heartbeats tell
  // in which layer and operation they miss it.
  struct Lost {
    int32_t rank = 0;
    Time at;
  };

  void begin_incarnation(Time now);
  void accept(NewConnection mail, Time now);
  void handle_closed(const ConnectionClosed& mail, Time now);
  void handle_frame(uint64_t id, const comm::Frame& frame, Time now);
  void handle_join(uint64_t id, const comm::Frame& frame, Time now);
  absl::Status check_join(const protocol::Join& join) const;
  void handle_rank_frame(int32_t rank, const comm::Frame& frame, Time now);
  void handle_ready(int32_t rank, const comm::Frame& frame, Time now);
  void handle_result(int32_t rank, const comm::Frame& frame, Time now);
  void configure(Time now);
  void check_timers(Time now);
  void check_silence(Time now);
  void check_exit(Time now);
  void check_restart(Time now);
  void check_stopping(Time now);
  void close_connection(uint64_t id);
  void drop_connections();
  bool send_to(int32_t rank, protocol::MessageType type, std::vector<std::byte> payload, Time now);
  std::string describe(int32_t rank) const;  // "rank 1 (host a, pid 7)"
  std::string doing(int32_t rank,
                    Time now) const;  // "in step 3, layer 2, operation 'dispatch' begun 0.4 s ago"
  // Another rank that has reported from the step in flight since `since`; -1 if none.
  int32_t witness(int32_t rank, Time since) const;
  void check_lost(Time now);
  void note_start_failure(FailureKind kind);
  // How a rank of a group that is not ready yet was lost, with what its launcher said.
  void fail_lost_while_loading(int32_t rank, Time now);
  std::string exit_text(const std::string& exit, Time now) const;
  Time step_deadline() const { return step_began_ + in_flight_.front().time; }
  int32_t slowest_rank(Time now) const;
  double operation_age_seconds(const Rank& rank, Time now) const;
  Rank& rank_at(int32_t rank) { return ranks_[static_cast<size_t>(rank)]; }
  const Rank& rank_at(int32_t rank) const { return ranks_[static_cast<size_t>(rank)]; }

  GroupOptions options_;
  std::unique_ptr<GroupTransport> transport_;
  std::shared_ptr<GroupInbox> inbox_;
  GroupState state_ = GroupState::kStarting;
  int64_t incarnation_ = 0;
  Time state_since_;
  std::map<uint64_t, Connection> connections_;
  uint64_t next_connection_ = 1;
  std::vector<Rank> ranks_;
  std::string kernel_set_;
  bool asleep_ = true;
  std::deque<InFlight> in_flight_;  // at most two; the first runs, as far as is known here
  Time step_began_;                 // of the first: when it was sent, or the result before came
  std::optional<Lost> lost_;
  std::vector<GroupEvent> events_;
  std::string last_failure_;
  std::string last_refusal_;
  int64_t restarts_ = 0;
  std::chrono::milliseconds backoff_{0};
  Time restart_at_;
  bool final_ = false;
  bool confirmed_ = false;
  int32_t attempts_ = 0;  // starts until it was confirmed
  EngineStatus::StartFailure start_failure_ = EngineStatus::StartFailure::kNone;
  bool stopping_ = false;
  bool stop_sent_ = false;
  Time stop_deadline_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_WORKER_GROUP_H_
