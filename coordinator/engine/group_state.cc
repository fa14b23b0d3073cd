#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

const char* group_state_name(GroupState state) {
  switch (state) {
    case GroupState::kStarting:
      return "starting";
    case GroupState::kLoading:
      return "loading";
    case GroupState::kReady:
      return "ready";
    case GroupState::kFailed:
      return "failed";
    case GroupState::kDraining:
      return "draining";
    case GroupState::kStopped:
      return "stopped";
  }
  return "unknown";
}

}  // namespace conclave::coordinator
