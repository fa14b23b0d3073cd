#ifndef CONCLAVE_TESTS_WORKER_TEST_KERNEL_SETS_H_
#define CONCLAVE_TESTS_WORKER_TEST_KERNEL_SETS_H_

#include "worker/worker.h"

namespace conclave::worker {

// Every kernel set that this build and this machine have. Thread-safe.
class TestKernelSets : public KernelSetFactory {
 public:
  std::vector<std::string> available() const override;
  absl::StatusOr<std::unique_ptr<kernels::KernelSet>> make(const std::string& name,
                                                           ComputeType compute, int threads,
                                                           int first_core) override;
  // The device seam with the host implementation behind it.
  static constexpr char kFakeDevice[] = "fake-device";
  // With $CONCLAVE_TEST_DEVICE=cuda the GPU is all there is; without one the process ends as skipped (77).
  static constexpr char kGpu[] = "cuda-sm90";
  bool is_device(const std::string& name) const override {
    return name == kFakeDevice || name == kGpu;
  }
  absl::StatusOr<std::unique_ptr<device::Device>> make_device(const std::string& name,
                                                              ComputeType compute,
                                                              int index) override;
};

// Those that run on the CPU.
std::vector<std::string> host_kernel_sets();

}  // namespace conclave::worker

#endif  // CONCLAVE_TESTS_WORKER_TEST_KERNEL_SETS_H_
