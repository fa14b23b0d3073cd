#ifndef CONCLAVE_CLI_CONCLAVECTL_VERBS_H_
#define CONCLAVE_CLI_CONCLAVECTL_VERBS_H_

// The verbs. Each function declares flags and help on `app` and, when its verb was called, leaves
// what is to be done in *action: parsing ends before anything happens.

#include <functional>

#include "absl/status/status.h"
#include "cli/conclavectl/session.h"

namespace CLI {
class App;
}

namespace conclave::ctl {

using Action = std::function<absl::Status(Session& session)>;

void add_status_verbs(CLI::App& app, Action* action);     // status, health
void add_top_verb(CLI::App& app, Action* action);
void add_object_verbs(CLI::App& app, Action* action);     // get, describe
void add_admission_verbs(CLI::App& app, Action* action);  // cordon, drain, undrain, cancel, wait
void add_expert_verbs(CLI::App& app, Action* action);     // expert-load
void add_placement_verbs(CLI::App& app, Action* action);  // placement, profile
void add_trace_verbs(CLI::App& app, Action* action);      // trace, log-level, logs
void add_doctor_verb(CLI::App& app, Action* action);
void add_bundle_verb(CLI::App& app, Action* action);
// version, metrics, completion, man: need no cluster (version asks one if it can).
void add_local_verbs(CLI::App& app, Action* action);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_VERBS_H_
