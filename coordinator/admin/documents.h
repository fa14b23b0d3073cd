#ifndef CONCLAVE_COORDINATOR_ADMIN_DOCUMENTS_H_
#define CONCLAVE_COORDINATOR_ADMIN_DOCUMENTS_H_

// The JSON documents of the admin API. Each has "version" (1) and "kind"; a change that a reader
// could trip over raises the version. docs/admin_api.schema.json describes them.

#include <nlohmann/json.hpp>
#include <vector>

#include "coordinator/admin/admin_server.h"
#include "coordinator/admin/health_checks.h"

namespace conclave::coordinator {

using AdminJson = nlohmann::ordered_json;

// {"version":1,"kind":kind}
AdminJson document(const char* kind);

AdminJson status_document(const AdminParts& parts);
AdminJson health_document(const AdminParts& parts);
AdminJson ranks_document(const AdminParts& parts);
AdminJson requests_document(const std::vector<RequestStatus>& requests);
AdminJson experts_document(const AdminParts& parts);
AdminJson model_document(const AdminParts& parts);
AdminJson config_document(const AdminParts& parts);
AdminJson version_document(const AdminParts& parts);
AdminJson history_document(const AdminParts& parts);
AdminJson admission_document(const AdminParts& parts);
AdminJson logs_document(const AdminParts& parts);

const char* group_state_word(GroupState state);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_DOCUMENTS_H_
