#ifndef CONCLAVE_COORDINATOR_HTTP_CLIENT_HOST_LOOKUP_H_
#define CONCLAVE_COORDINATOR_HTTP_CLIENT_HOST_LOOKUP_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// The first address of a host as text ("10.0.0.7", "fe80::1"). INVALID_ARGUMENT: no such host. May take as long as the
// system's resolver likes, which no deadline of ours can shorten.
using HostResolver = std::function<absl::StatusOr<std::string>(const std::string& host)>;
absl::StatusOr<std::string> resolve_host(const std::string& host);

// Returns at once. The resolver runs on a thread that nobody waits for, and done is called there, once: it must not
// touch what may be gone by then.
void look_up_host(HostResolver resolver, std::string host, std::function<void(absl::StatusOr<std::string> address)> done);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CLIENT_HOST_LOOKUP_H_
