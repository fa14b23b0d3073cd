#include "tests/worker/test_kernel_sets.h"

#include "base/status_macros.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/device/thread_pool.h"
#include "kernels/reference/reference_kernels.h"

namespace conclave::worker {

std::vector<std::string> TestKernelSets::available() const {
  std::vector<std::string> names = kernels::available_cpu_kernel_sets();
  names.emplace_back("reference");
  return names;
}

absl::StatusOr<std::unique_ptr<kernels::KernelSet>> TestKernelSets::make(const std::string& name,
                                                                         ComputeType compute,
                                                                         int threads,
                                                                         int first_core) {
  if (name == "reference") return kernels::make_reference_kernels(compute);
  kernels::ThreadPoolOptions options;
  options.threads = threads;
  options.first_core = first_core;
  ASSIGN_OR_RETURN(std::shared_ptr<kernels::ThreadPool> pool, kernels::ThreadPool::Create(options));
  return kernels::make_cpu_kernels(name, compute, std::move(pool));
}

}  // namespace conclave::worker
