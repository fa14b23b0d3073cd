#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_GUARD_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_GUARD_H_

// Who may use the admin listener.

#include <optional>
#include <string>

#include "coordinator/http/api_keys.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// Immutable; any thread.
class AdminGuard {
 public:
  // address: of the listener; "unix:PATH" is as local as 127.0.0.1.
  AdminGuard(ApiKeys keys, const std::string& address);

  // The refusal, if any: 401 for a missing or wrong key; 403 for a verb on a listener that others
  // can reach and that has no key, and for a browser that another site's page sent here.
  std::optional<ApiError> check(const HttpRequest& request) const;
  bool local() const { return local_; }

 private:
  ApiKeys keys_;
  bool local_;
};

bool is_loopback_address(const std::string& address);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_GUARD_H_
