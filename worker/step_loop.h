#ifndef CONCLAVE_WORKER_STEP_LOOP_H_
#define CONCLAVE_WORKER_STEP_LOOP_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/channel/channel.h"
#include "comm/communicator.h"
#include "protocol/step_plan.h"
#include "worker/rank.h"
#include "worker/step_progress.h"

namespace conclave::worker {

// Runs plans until Shutdown. Rank 0 gets them on its channel and broadcasts them; the others sleep on
// their channels until Wake, then take plans from the broadcast until one says sleep (protocol/messages.h).
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
  absl::Status broadcast(std::vector<std::byte>* bytes, int32_t deadline_ms);
  absl::Status run_plan(const protocol::StepPlan& plan);
  absl::Status send_result(const protocol::StepPlan& plan, protocol::StepResult result,
                           std::vector<std::vector<std::byte>> parts);
  absl::Status put_group_to_sleep();

  comm::Channel* channel_;
  comm::Communicator* communicator_;
  Rank* rank_;
  StepProgress* progress_;
  bool awake_ = false;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_STEP_LOOP_H_
