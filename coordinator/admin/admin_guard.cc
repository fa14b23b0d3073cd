#include "coordinator/admin/admin_guard.h"

#include <unistd.h>

#include <string_view>
#include <utility>

#include "coordinator/http/authority.h"

namespace conclave::coordinator {
namespace {

ApiError forbidden(std::string message, std::string code) {
  ApiError error = bad_request(std::move(message), std::nullopt, std::move(code));
  error.status = 403;
  return error;
}

bool is_this_machine(std::string_view host) { return host.empty() || is_loopback_authority(host); }

// A page of another site may make a browser send requests here (and, by rebinding its name to
// 127.0.0.1, even read the answers). It cannot choose Host and Origin, though.
bool from_another_site(const HttpRequest& request) {
  const std::string_view header = request.header("host");
  if (!is_this_machine(request.host) || !is_this_machine(header)) return true;
  const std::string_view origin = request.header("origin");
  if (!origin.empty()) {
    const size_t scheme = origin.find("://");
    if (scheme == std::string_view::npos ||
        !equals_ignoring_case(origin.substr(scheme + 3), header) ||
        !is_loopback_authority(origin.substr(scheme + 3)))
      return true;
  }
  const std::string_view site = request.header("sec-fetch-site");
  return !site.empty() && site != "same-origin" && site != "none";
}

bool is_static(const HttpRequest& request) {
  return request.path == "/ui" || request.path.starts_with("/ui/");
}

bool is_for_monitoring(const HttpRequest& request) {
  return request.path == "/metrics" || request.path == "/health";
}

ApiError another_user(const HttpPeer& peer, uint32_t own_uid) {
  const std::string whose = peer.uid ? "comes from uid " + std::to_string(*peer.uid)
                                     : "cannot be told whose it is (another network namespace?)";
  return forbidden("Without a key this admin listener serves its own user alone, uid " +
                       std::to_string(own_uid) + ", and " + whose +
                       "; start the coordinator with --admin-key-file and send a key of that file, "
                       "or ask as its user, through the Unix socket of --admin-socket if need be.",
                   "another_user");
}

}  // namespace

AdminGuard::AdminGuard(ApiKeys keys, const std::string& address)
    : keys_(std::move(keys)), local_(is_loopback_address(address)), own_uid_(::geteuid()) {}

std::optional<ApiError> AdminGuard::check(HttpRequest& request) const {
  const bool reads_only = !request.has_body();
  if (is_static(request) && reads_only) return std::nullopt;
  if (!keys_.empty()) {
    auto error = keys_.check(request.header("authorization"), &request.key);
    if (error) error->code = "invalid_admin_key";
    return error;
  }
  if (is_for_monitoring(request) && reads_only) return std::nullopt;
  if (!local_) {
    return forbidden(
        "This admin listener is open to other hosts and has no key, so it serves /metrics and "
        "/health alone; start the coordinator with --admin-key-file.",
        "admin_key_not_configured");
  }
  if (from_another_site(request))
    return forbidden("The request comes from a page of another site.", "cross_site");
  const auto uid = request.peer.uid;
  if (!uid || (*uid != own_uid_ && *uid != 0)) return another_user(request.peer, own_uid_);
  return std::nullopt;
}

}  // namespace conclave::coordinator
