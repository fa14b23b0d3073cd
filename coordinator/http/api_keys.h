#ifndef CONCLAVE_COORDINATOR_HTTP_API_KEYS_H_
#define CONCLAVE_COORDINATOR_HTTP_API_KEYS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {

// The keys that open the API. Immutable; any thread.
class ApiKeys {
 public:
  ApiKeys() = default;  // no keys: everything is open
  // One key a line; blank lines and lines that begin with # do not count. INVALID_ARGUMENT if none
  // is left.
  static absl::StatusOr<ApiKeys> from_text(std::string_view text, std::string_view source);
  static absl::StatusOr<ApiKeys> from_file(const std::string& path);

  bool empty() const { return keys_.empty(); }
  // Looks at every key and every byte whatever matches, so that the time taken tells nothing about
  // them.
  bool accepts(std::string_view key) const;
  // authorization: the header's value, "Bearer KEY". The 401 to answer, if any.
  std::optional<ApiError> check(std::string_view authorization) const;

 private:
  std::vector<std::string> keys_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_API_KEYS_H_
