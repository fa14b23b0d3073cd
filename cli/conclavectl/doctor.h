#ifndef CONCLAVE_CLI_CONCLAVECTL_DOCTOR_H_
#define CONCLAVE_CLI_CONCLAVECTL_DOCTOR_H_

// A check of this host and, where it can be reached, of the cluster; each finding says what to do.

#include <string>
#include <vector>

#include "cli/conclavectl/session.h"

namespace conclave::ctl {

struct Finding {
  std::string check;    // stable name: "memory", "open-files", …
  std::string verdict;  // OK, WARN, ERROR or SKIP
  std::string what;
  std::string advice;  // "" for OK
};

std::vector<Finding> check_host();
std::vector<Finding> check_cluster(Session& session);
// {"version":1,"kind":"doctor","verdict":…,"findings":[…]}
Json doctor_document(const std::vector<Finding>& findings);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_DOCTOR_H_
