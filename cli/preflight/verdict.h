#ifndef CONCLAVE_CLI_PREFLIGHT_VERDICT_H_
#define CONCLAVE_CLI_PREFLIGHT_VERDICT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/preflight/node_report.h"

namespace conclave::cli {

// What the reports of all nodes say together: one sentence if the job may start, else
// INVALID_ARGUMENT with a sentence that names each bad node and what is wrong with it. A broken
// link has two ends: the one that most others miss is blamed.
absl::StatusOr<std::string> judge(const std::vector<std::string>& expected_nodes,
                                  const std::map<std::string, NodeReport>& reports);

// Reads FOLDER/NODE.json of the nodes that have one.
std::map<std::string, NodeReport> read_reports(const std::string& folder,
                                               const std::vector<std::string>& nodes);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_PREFLIGHT_VERDICT_H_
