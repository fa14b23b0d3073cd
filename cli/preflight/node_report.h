#ifndef CONCLAVE_CLI_PREFLIGHT_NODE_REPORT_H_
#define CONCLAVE_CLI_PREFLIGHT_NODE_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::cli {

// What one check found. message: a sentence part that follows the node's name, also when all is
// well.
struct CheckResult {
  std::string name;  // "model", "memory", "gpus", "links"
  bool ok = true;
  std::string message;
};

// One node's answer, kept as FOLDER/NODE.json. unreachable: nodes whose listener did not answer
// this one.
struct NodeReport {
  std::string node;
  std::vector<CheckResult> checks;
  std::vector<std::string> unreachable;
};

std::string to_json(const NodeReport& report);
// INVALID_ARGUMENT for anything that to_json() did not write.
absl::StatusOr<NodeReport> report_from_json(const std::string& text);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_PREFLIGHT_NODE_REPORT_H_
