#ifndef CONCLAVE_COORDINATOR_ADMIN_HEALTH_CHECKS_H_
#define CONCLAVE_COORDINATOR_ADMIN_HEALTH_CHECKS_H_

// What is wrong with the cluster now, as codes that stay the same from release to release
// (docs/conclavectl.md lists them), each with what to do about it.

#include <string>
#include <vector>

#include "coordinator/admin/model_folder_snapshot.h"
#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

enum class Severity { kOk, kWarning, kError };
const char* severity_name(Severity severity);  // "OK", "WARN", "ERROR"

struct HealthCheck {
  std::string code;  // "RANK_DOWN"
  Severity severity = Severity::kWarning;
  std::string summary;
  std::vector<std::string> details;
  std::string advice;
};

struct HealthInput {
  EngineStatus status;
  std::vector<double> layer_max_over_mean;  // of the ranks' expert rows, one per MoE layer
  double kv_warning_ratio = 0.95;
  double imbalance_warning = 1.5;
  ModelFolderFindings model_folder;
};

// Worst first; empty: all is well.
std::vector<HealthCheck> health_checks(const HealthInput& input);
Severity worst_severity(const std::vector<HealthCheck>& checks);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_HEALTH_CHECKS_H_
