#ifndef CONCLAVE_COORDINATOR_ENGINE_GROUP_CONFIGURATION_H_
#define CONCLAVE_COORDINATOR_ENGINE_GROUP_CONFIGURATION_H_

// From what the ranks of a group can do to what each of them shall do. Pure functions.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "protocol/messages.h"

namespace conclave::coordinator {

// The set to run: `override` if not empty and all ranks have it, else the best of rank 0's that all
// have. FAILED_PRECONDITION names who lacks what.
absl::StatusOr<std::string> agree_kernel_set(std::span<const protocol::Join> joins,
                                             const std::string& override);

struct ThreadOptions {
  int32_t threads_per_rank = 0;  // 0: usable cores of the host / its ranks, at least 1
  bool pin = true;               // only where every thread of the host gets a core of its own
};
// One Configure per rank: the template with kernel_set, threads and first_core filled in.
absl::StatusOr<std::vector<protocol::Configure>> configure_ranks(
    std::span<const protocol::Join> joins, const protocol::Configure& model,
    const ThreadOptions& threads);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_GROUP_CONFIGURATION_H_
