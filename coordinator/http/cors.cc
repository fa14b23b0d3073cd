#include "coordinator/http/cors.h"

#include <algorithm>

#include "coordinator/http/authority.h"

namespace conclave::coordinator {
namespace {

constexpr const char* kSecondsRemembered = "600";

// SCHEME://HOST[:PORT], nothing behind it; the host in lower case, as browsers send it.
bool is_origin(std::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return false;
  const bool letters = std::all_of(text.begin(), text.begin() + static_cast<ptrdiff_t>(scheme),
                                   [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
  const bool lower =
      std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  return letters && lower && parse_authority(text.substr(scheme + 3)).has_value();
}

}  // namespace

absl::StatusOr<CorsPolicy> CorsPolicy::from_list(const std::vector<std::string>& origins) {
  CorsPolicy policy;
  for (const std::string& origin : origins) {
    if (origin == "*" && origins.size() == 1) {
      policy.any_ = true;
    } else if (origin == "none" && origins.size() == 1) {
      continue;
    } else if (is_origin(origin)) {
      policy.origins_.push_back(origin);
    } else {
      return absl::InvalidArgumentError(
          "\"" + origin +
          "\" is no origin; write it as browsers do, "
          "SCHEME://HOST[:PORT] in lower case and without "
          "a path (https://app.example), * alone for every page, or none");
    }
  }
  return policy;
}

bool CorsPolicy::allows(std::string_view origin) const {
  return any_ || std::find(origins_.begin(), origins_.end(), origin) != origins_.end();
}

bool CorsPolicy::is_preflight(const HttpRequest& request) {
  return request.method == "OPTIONS" && !request.header("origin").empty() &&
         !request.header("access-control-request-method").empty();
}

HttpHeaders CorsPolicy::answer_headers(const HttpRequest& request) const {
  HttpHeaders headers;
  if (empty()) return headers;
  // A cache must not give one page what was meant for another.
  if (!any_) headers.push_back({"Vary", "Origin"});
  const std::string_view origin = request.header("origin");
  if (origin.empty() || !allows(origin)) return headers;
  headers.push_back({"Access-Control-Allow-Origin", any_ ? "*" : std::string(origin)});
  headers.push_back({"Access-Control-Expose-Headers", "x-request-id, Retry-After"});
  return headers;
}

HttpHeaders CorsPolicy::preflight_headers(const HttpRequest& request) const {
  HttpHeaders headers = answer_headers(request);
  if (empty() || !allows(request.header("origin"))) return headers;
  headers.push_back({"Access-Control-Allow-Methods", "GET, POST, OPTIONS"});
  // What a page may send is not ours to choose, and "*" would not stand for Authorization.
  if (const std::string_view asked = request.header("access-control-request-headers");
      !asked.empty())
    headers.push_back({"Access-Control-Allow-Headers", std::string(asked)});
  headers.push_back({"Access-Control-Max-Age", kSecondsRemembered});
  return headers;
}

}  // namespace conclave::coordinator
