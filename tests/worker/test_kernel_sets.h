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
};

}  // namespace conclave::worker

#endif  // CONCLAVE_TESTS_WORKER_TEST_KERNEL_SETS_H_
