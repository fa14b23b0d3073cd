#ifndef CONCLAVE_COORDINATOR_ADMIN_HEALTH_REPORT_H_
#define CONCLAVE_COORDINATOR_ADMIN_HEALTH_REPORT_H_

#include <string>

#include "coordinator/admin/model_folder_snapshot.h"
#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

// The engine's state as JSON:
// {"status":"ok"|"starting"|"failed"|"draining"|"stopped","group_state",
// "last_failure","restarts",…,"ranks":[…]}. The process that answers is alive whatever the status
// says. With `model_folder`: "model_files" is "ok" or what is wrong with them first.
std::string health_report(const EngineStatus& status,
                          const ModelFolderFindings* model_folder = nullptr);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_HEALTH_REPORT_H_
