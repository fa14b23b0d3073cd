// The same tests over the sets of a device. Without one the program says so and is a skip.

#include <cstdio>

#include "tests/kernels/kernel_fixture.h"
#include "tests/kernels_cuda/device_kernel_set.h"

namespace conclave::kernels {
namespace {

constexpr int kSkipped = 77;

std::shared_ptr<const device::Library>& library() {
  static std::shared_ptr<const device::Library> loaded;
  return loaded;
}

}  // namespace

std::shared_ptr<const device::Library> loaded_device_library() { return library(); }

std::unique_ptr<KernelSet> make_set(const std::string& name, ComputeType compute, int threads) {
  if (name == "reference") return make_reference_kernels(compute);
  if (name.rfind("cpu", 0) == 0) return make_cpu_kernels(name, compute, make_pool(threads)).value();
  return make_device_kernel_set(library(), compute);
}

std::vector<SetCase> tested_cases() {
  return {{"cuda-sm90", ComputeType::kF32}, {"cuda-sm90", ComputeType::kBF16}};
}

}  // namespace conclave::kernels

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  auto loaded = conclave::kernels::test_device_library();
  if (!loaded.ok()) {
    std::printf("skipped: %s\n", loaded.status().ToString().c_str());
    return conclave::kernels::kSkipped;
  }
  conclave::kernels::library() = *loaded;
  const int result = RUN_ALL_TESTS();
  conclave::kernels::library() = nullptr;
  return result;
}
