#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_ROUTES_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_ROUTES_H_

#include <memory>

#include "coordinator/admin/admin_server.h"
#include "coordinator/http/router.h"

namespace conclave::coordinator {

// The verbs that look: status, health, ranks, requests, experts, model, config, version, history,
// logs.
void add_read_routes(Router& router, std::shared_ptr<const AdminParts> parts);
// The verbs that change something: cordon, drain, undrain, cancel, log-level; and the page's prompt
// box.
void add_action_routes(Router& router, std::shared_ptr<const AdminParts> parts);
// trace, trace/start, trace/stop.
void add_trace_routes(Router& router, std::shared_ptr<const AdminParts> parts);
// /ui: the page, its style and its script, as they were compiled in.
void add_page_routes(Router& router);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_ROUTES_H_
