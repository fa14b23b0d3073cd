#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_GUARD_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_GUARD_H_

// Who may use the admin listener (docs/adr/0012-admin-trusts-the-peers-user.md).

#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/http/api_keys.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// Immutable, but for the keys that a reload replaces; any thread.
class AdminGuard {
 public:
  // address: of the listener; "unix:PATH" is as local as 127.0.0.1.
  AdminGuard(ApiKeys keys, const std::string& address);

  // The refusal, if any; notes the key in the request. With keys: 401 for a missing or wrong one.
  // Without: 403 for a listener that other hosts can reach, for a browser that another site's page
  // sent here, and for a process of another user than this one and root.
  std::optional<ApiError> check(HttpRequest& request) const;
  // Requests are judged by HttpPeer::uid if there is no key.
  bool local() const { return local_; }

 private:
  ApiKeys keys_;
  bool local_;
  uint32_t own_uid_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_GUARD_H_
