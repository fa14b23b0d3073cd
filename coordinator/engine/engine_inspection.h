#ifndef CONCLAVE_COORDINATOR_ENGINE_ENGINE_INSPECTION_H_
#define CONCLAVE_COORDINATOR_ENGINE_ENGINE_INSPECTION_H_

// What operators can ask an engine about.

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/step_plan.h"

namespace conclave::coordinator {

using SequenceId = uint64_t;

// An accepted sequence that has not ended, for people who look.
struct RequestStatus {
  SequenceId id = 0;
  std::string request_id;
  bool running = false;  // else it waits
  int32_t rank = -1;     // home rank; -1 while it waits
  int32_t prompt_tokens = 0, computed_tokens = 0, generated_tokens = 0, max_tokens = 0;
  int32_t kv_blocks = 0;
  int32_t priority = 0;
  std::string client;   // name of its API key; "" without keys
  int32_t replays = 0;  // restarts of the group that it lived through
  double age_seconds = 0;
};

// What the ranks did in one step.
struct StepTrace {
  int64_t step = 0;
  double begin_seconds = 0;  // when the plan was sent, since the trace began
  double seconds = 0;        // until its result
  std::vector<protocol::RankTiming> ranks;
};
struct TraceStatus {
  int32_t wanted = 0;  // steps; 0: there has been no trace
  bool running = false;
  std::vector<StepTrace> steps;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_ENGINE_INSPECTION_H_
