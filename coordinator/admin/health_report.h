#ifndef CONCLAVE_COORDINATOR_ADMIN_HEALTH_REPORT_H_
#define CONCLAVE_COORDINATOR_ADMIN_HEALTH_REPORT_H_

#include <string>

#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

// The engine's state as JSON:
// {"status":"ok"|"starting"|"failed"|"draining"|"stopped","group_state",
// "last_failure","restarts",…,"ranks":[…]}. The process that answers is alive whatever the status
// says.
std::string health_report(const EngineStatus& status);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_HEALTH_REPORT_H_
