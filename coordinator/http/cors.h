#ifndef CONCLAVE_COORDINATOR_HTTP_CORS_H_
#define CONCLAVE_COORDINATOR_HTTP_CORS_H_

// Which web pages may use a listener from a browser (cross-origin resource sharing). No cookies are
// involved: a page sends its key itself.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// Immutable; any thread.
class CorsPolicy {
 public:
  CorsPolicy() = default;  // no page of another origin
  // Origins as browsers send them ("https://app.example", "http://localhost:3000"), or "*" alone
  // for every page, or "none". INVALID_ARGUMENT for anything else.
  static absl::StatusOr<CorsPolicy> from_list(const std::vector<std::string>& origins);

  bool empty() const { return !any_ && origins_.empty(); }
  // A browser's question whether a page may send a request; it carries no key.
  static bool is_preflight(const HttpRequest& request);
  // Headers of the answer to it, and of every other answer; none where the page may not.
  HttpHeaders preflight_headers(const HttpRequest& request) const;
  HttpHeaders answer_headers(const HttpRequest& request) const;

 private:
  bool allows(std::string_view origin) const;
  bool any_ = false;
  std::vector<std::string> origins_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CORS_H_
