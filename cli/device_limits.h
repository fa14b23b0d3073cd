#ifndef CONCLAVE_CLI_DEVICE_LIMITS_H_
#define CONCLAVE_CLI_DEVICE_LIMITS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace conclave::cli {

struct DeviceLimits {
  std::string name;                  // of the GPU
  double copy_bytes_per_second = 0;  // of a large copy, read and written bytes together
};

// What the first GPU can do, measured now and for a moment with 2 GiB of its memory. Empty:
// `device` (auto, cpu or cuda) means the CPU here.
absl::StatusOr<std::optional<DeviceLimits>> measure_device_limits(const std::string& device);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_DEVICE_LIMITS_H_
