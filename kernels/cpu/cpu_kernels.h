#ifndef CONCLAVE_KERNELS_CPU_CPU_KERNELS_H_
#define CONCLAVE_KERNELS_CPU_CPU_KERNELS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/thread_pool.h"
#include "kernels/kernel_set.h"

namespace conclave::kernels {

// Names of the cpu kernel sets this processor can run, fastest first: of "cpu-avx512", "cpu-avx2",
// "cpu-baseline".
std::vector<std::string> available_cpu_kernel_sets();

// The named set. INVALID_ARGUMENT for an unknown name or a null pool, FAILED_PRECONDITION if the
// processor lacks the instructions, RESOURCE_EXHAUSTED without memory for scratch.
// Operations of one set must not run at the same time as others on the same pool.
absl::StatusOr<std::unique_ptr<KernelSet>> make_cpu_kernels(const std::string& name,
                                                            ComputeType compute_type,
                                                            std::shared_ptr<ThreadPool> pool);

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_CPU_CPU_KERNELS_H_
