#ifndef CONCLAVE_COORDINATOR_ADMIN_PLACEMENT_ROUTES_H_
#define CONCLAVE_COORDINATOR_ADMIN_PLACEMENT_ROUTES_H_

#include <memory>

#include "coordinator/admin/document_folder.h"
#include "coordinator/http/router.h"
#include "coordinator/placement/placement_manager.h"

namespace conclave::coordinator {

// GET /admin/v1/placement; POST /admin/v1/placement/{plan,apply,rollback}: where experts are, and
// moving them (docs/placement_live.md). The manager outlives the router. Errors:
// {"error":{"code","message"}} with 400, 404 or 409.
void add_placement_routes(Router& router, PlacementManager& manager);

// GET /admin/v1/profile; POST /admin/v1/profile/{start,stop,save,load}. Profiles are saved to and
// loaded from documents of that folder; load also takes one in its body.
void add_profile_routes(Router& router, PlacementManager& manager,
                        std::shared_ptr<const DocumentFolder> documents);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_PLACEMENT_ROUTES_H_
