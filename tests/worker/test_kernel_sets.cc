#include "tests/worker/test_kernel_sets.h"

#include <cstdio>
#include <cstdlib>

#include "base/status_macros.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/device/thread_pool.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::worker {
namespace {

constexpr int kSkipped = 77;

bool tests_the_gpu() {
  const char* device = std::getenv("CONCLAVE_TEST_DEVICE");
  return device != nullptr && std::string(device) == "cuda";
}

absl::StatusOr<std::shared_ptr<const device::Library>> gpu_library() {
  ASSIGN_OR_RETURN(auto library, device::Library::load(device::cuda_plugin_path()));
  RETURN_IF_ERROR(library->device_count().status());
  return library;
}

}  // namespace

std::vector<std::string> host_kernel_sets() {
  if (tests_the_gpu()) return {};
  std::vector<std::string> names = kernels::available_cpu_kernel_sets();
  names.emplace_back("reference");
  return names;
}

std::vector<std::string> TestKernelSets::available() const {
  if (tests_the_gpu()) {
    const absl::Status status = gpu_library().status();
    if (status.ok()) return {kGpu};
    std::printf("skipped: %s\n", std::string(status.message()).c_str());
    std::fflush(stdout);
    std::_Exit(kSkipped);
  }
  std::vector<std::string> names = host_kernel_sets();
  names.emplace_back(kFakeDevice);
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

absl::StatusOr<std::unique_ptr<device::Device>> TestKernelSets::make_device(const std::string& name,
                                                                           ComputeType compute,
                                                                           int index) {
  if (name == kFakeDevice) {
    return device::Device::create(device::Library::of(device::fake_device_ops()), index, compute);
  }
  ASSIGN_OR_RETURN(auto library, gpu_library());
  ASSIGN_OR_RETURN(const int count, library->device_count());
  return device::Device::create(std::move(library), index % count, compute);
}

}  // namespace conclave::worker
