#ifndef CONCLAVE_BASE_FILE_H_
#define CONCLAVE_BASE_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave {

// Whole file as bytes. NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (over max_bytes); the message names the path.
absl::StatusOr<std::string> read_file(const std::string& path, size_t max_bytes = size_t{1} << 30);
// A file with a secret: PERMISSION_DENIED if anyone but its owner may read or write it, NOT_FOUND.
absl::Status check_private(const std::string& path);
// Writes to a temporary name beside path, syncs, renames: readers see the old file or the new one.
absl::Status write_file_atomically(const std::string& path, std::string_view content, int mode = 0644);

}  // namespace conclave

#endif  // CONCLAVE_BASE_FILE_H_
