// The kernel sets that the kernel tests run over: those of this processor.

#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {

std::unique_ptr<KernelSet> make_set(const std::string& name, ComputeType compute, int threads) {
  if (name == "reference") return make_reference_kernels(compute);
  return make_cpu_kernels(name, compute, make_pool(threads)).value();
}

std::vector<SetCase> tested_cases() {
  std::vector<SetCase> cases;
  for (const std::string& name : available_cpu_kernel_sets()) {
    cases.push_back({name, ComputeType::kF32});
    cases.push_back({name, ComputeType::kBF16});
  }
  return cases;
}

}  // namespace conclave::kernels
