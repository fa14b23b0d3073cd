#ifndef CONCLAVE_WORKER_STEP_LOOP_H_
#define CONCLAVE_WORKER_STEP_LOOP_H_

#include <deque>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/channel/channel.h"
#include "comm/communicator.h"
#include "protocol/step_plan.h"
#include "worker/rank.h"
#include "worker/step_progress.h"

namespace conclave::worker {

// Runs plans until Shutdown. Rank 0 gets them on its channel and broadcasts them; the others sleep
// on their channels until Wake, then take plans from the broadcast until one says sleep
// (protocol/messages.h).
//
// Where steps overlap (Rank::overlaps), rank 0 looks for the next plan while the step runs. The
// others cannot see what has come, so it broadcasts what happened first: the next plan, or nothing
// when the step has ended. Thus all ranks enqueue and finish the same steps in the same order.
class StepLoop {
 public:
  // All outlive the loop.
  StepLoop(comm::Channel* channel, comm::Communicator* communicator, Rank* rank,
           StepProgress* progress)
      : channel_(channel), communicator_(communicator), rank_(rank), progress_(progress) {}

  // OK: Shutdown, or the coordinator went away between steps.
  absl::Status run();

 private:
  absl::Status lead();
  absl::Status follow();
  absl::Status follow_until_sleep();
  absl::StatusOr<comm::Frame> next_frame();
  absl::Status begin(protocol::StepPlan plan);
  bool looks_for_next_plan() const;
  absl::Status lead_in_flight();
  absl::StatusOr<bool> lead_next_plan();
  absl::StatusOr<std::optional<comm::Frame>> wait_for_plan_or_end();
  absl::Status broadcast(std::vector<std::byte>* bytes, int64_t deadline_ms);
  absl::Status finish_oldest();
  absl::Status send_result(const protocol::StepPlan& plan, protocol::StepResult result,
                           std::vector<std::vector<std::byte>> parts);
  absl::Status put_group_to_sleep();

  comm::Channel* channel_;
  comm::Communicator* communicator_;
  Rank* rank_;
  StepProgress* progress_;
  bool awake_ = false;
  std::deque<protocol::StepPlan> in_flight_;  // at most two, oldest first
  std::optional<comm::Frame> held_;           // came during a step, and is none to run beside it
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_STEP_LOOP_H_
