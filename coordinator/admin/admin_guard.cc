#include "coordinator/admin/admin_guard.h"

#include <string_view>
#include <utility>

namespace conclave::coordinator {
namespace {

ApiError forbidden(std::string message, std::string code) {
  ApiError error = bad_request(std::move(message), std::nullopt, std::move(code));
  error.status = 403;
  return error;
}

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.rfind(':'));
}

bool is_local_name(std::string_view host) {
  const std::string_view name = without_port(host);
  return name == "localhost" || name == "[::1]" || name.starts_with("127.");
}

// A page of another site may make a browser send requests here (and, by rebinding its name to
// 127.0.0.1, even read the answers). It cannot choose Host and Origin, though.
bool from_another_site(const HttpRequest& request) {
  const std::string_view origin = request.header("origin");
  if (!origin.empty()) {
    const size_t scheme = origin.find("://");
    const std::string_view host = scheme == std::string_view::npos ? "" : origin.substr(scheme + 3);
    if (host != request.header("host")) return true;
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

}  // namespace

bool is_loopback_address(const std::string& address) {
  return address.starts_with("unix:") || address == "localhost" || address == "::1" ||
         address.starts_with("127.");
}

AdminGuard::AdminGuard(ApiKeys keys, const std::string& address)
    : keys_(std::move(keys)), local_(is_loopback_address(address)) {}

std::optional<ApiError> AdminGuard::check(const HttpRequest& request) const {
  if (is_static(request)) return std::nullopt;
  if (!keys_.empty()) {
    auto error = keys_.check(request.header("authorization"));
    if (error) error->code = "invalid_admin_key";
    return error;
  }
  if (is_for_monitoring(request)) return std::nullopt;
  if (!local_) {
    return forbidden(
        "This admin listener is open to other hosts and has no key, so it serves /metrics and "
        "/health alone; start the coordinator with --admin-key-file.",
        "admin_key_not_configured");
  }
  if (from_another_site(request) ||
      (!request.header("host").empty() && !is_local_name(request.header("host")))) {
    return forbidden("The request comes from a page of another site.", "cross_site");
  }
  return std::nullopt;
}

}  // namespace conclave::coordinator
