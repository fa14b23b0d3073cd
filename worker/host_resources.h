#ifndef CONCLAVE_WORKER_HOST_RESOURCES_H_
#define CONCLAVE_WORKER_HOST_RESOURCES_H_

#include <cstdint>

namespace conclave::worker {

// Cores that this process may run on; at least 1.
int32_t usable_cores();
// Memory that can be taken without swapping: MemAvailable, or what the cgroup leaves if that is less.
// 0 when the system does not say.
uint64_t available_memory_bytes();

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_HOST_RESOURCES_H_
