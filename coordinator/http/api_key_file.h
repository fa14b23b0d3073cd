#ifndef CONCLAVE_COORDINATOR_HTTP_API_KEY_FILE_H_
#define CONCLAVE_COORDINATOR_HTTP_API_KEY_FILE_H_

// The form of a file of keys (ApiKeys::from_text) and who may have written it.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/http/api_key.h"

namespace conclave::coordinator {

struct ApiKeyLine {
  std::string secret;
  ApiKey key;
};

// At least one. INVALID_ARGUMENT: "SOURCE:LINE: what is wrong"; never says a key.
absl::StatusOr<std::vector<ApiKeyLine>> parse_api_key_lines(std::string_view text,
                                                            std::string_view source);
// What a client of that file sends: its first key.
absl::StatusOr<std::string> first_api_key(const std::string& path);
// PERMISSION_DENIED if the group or others may write the file. That they may read it is logged as a
// warning. NOT_FOUND.
absl::Status check_api_key_file(const std::string& path);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_API_KEY_FILE_H_
