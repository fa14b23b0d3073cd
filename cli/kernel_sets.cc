#include "cli/kernel_sets.h"

#include <string>
#include <vector>

#include "base/status_macros.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/device/thread_pool.h"
#include "kernels/reference/reference_kernels.h"

namespace conclave::cli {
namespace {

class AllKernelSets : public worker::KernelSetFactory {
 public:
  std::vector<std::string> available() const override {
    std::vector<std::string> names = kernels::available_cpu_kernel_sets();
    names.emplace_back("reference");
    return names;
  }

  absl::StatusOr<std::unique_ptr<kernels::KernelSet>> make(const std::string& name, ComputeType compute, int threads,
                                                           int first_core) override {
    if (name == "reference") return kernels::make_reference_kernels(compute);
    kernels::ThreadPoolOptions options;
    options.threads = threads;
    options.first_core = first_core;
    ASSIGN_OR_RETURN(std::shared_ptr<kernels::ThreadPool> pool, kernels::ThreadPool::Create(options));
    // make() runs on the thread that will run the steps: it is the pool's thread 0.
    RETURN_IF_ERROR(pool->pin_caller());
    return kernels::make_cpu_kernels(name, compute, std::move(pool));
  }
};

}  // namespace

std::unique_ptr<worker::KernelSetFactory> make_kernel_set_factory() { return std::make_unique<AllKernelSets>(); }

}  // namespace conclave::cli
