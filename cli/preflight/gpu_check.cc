#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "cli/preflight/node_checks.h"

namespace conclave::cli {
namespace {

// A library opened for a look; nothing of it stays.
class Library {
 public:
  explicit Library(const std::string& name)
      : handle_(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) {}
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (handle_ != nullptr) ::dlclose(handle_);
  }
  bool loaded() const { return handle_ != nullptr; }
  // The function of that name; null if the library lacks it.
  template <typename Function>
  Function* function(const char* name) const {
    return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(::dlsym(handle_, name));
  }

 private:
  void* handle_;
};

using CuInit = int(unsigned);
using GetInt = int(int*);

// 13000 -> "13.0", as CUDA counts.
std::string cuda_version(int number) {
  return absl::StrCat(number / 1000, ".", number % 1000 / 10);
}
// 22809 -> "2.28.9", as NCCL counts.
std::string nccl_version(int number) {
  return absl::StrCat(number / 10000, ".", number / 100 % 100, ".", number % 100);
}

CheckResult fault(std::string message) { return {"gpus", false, std::move(message)}; }

}  // namespace

CheckResult check_gpus(int32_t required, const GpuLibraries& libraries) {
  if (required <= 0) return {"gpus", true, "no GPUs asked for"};
  const Library driver(libraries.driver);
  auto* init = driver.function<CuInit>("cuInit");
  auto* count_devices = driver.function<GetInt>("cuDeviceGetCount");
  auto* driver_version = driver.function<GetInt>("cuDriverGetVersion");
  if (init == nullptr || count_devices == nullptr || driver_version == nullptr) {
    return fault(
        absl::StrCat("has no usable GPU driver (", libraries.driver, " cannot be loaded)"));
  }
  if (const int error = init(0); error != 0)
    return fault(absl::StrCat("its GPU driver does not start (cuInit error ", error,
                              "); see nvidia-smi there"));
  int devices = 0, driver_number = 0;
  if (count_devices(&devices) != 0 || driver_version(&driver_number) != 0)
    return fault("its GPU driver does not answer; see nvidia-smi there");
  if (devices < required)
    return fault(absl::StrCat("shows ", devices, " of ", required, " GPUs; see nvidia-smi there"));
  const Library nccl(libraries.nccl), runtime(libraries.runtime);
  int nccl_number = 0, runtime_number = 0;
  auto* get_nccl = nccl.function<GetInt>("ncclGetVersion");
  if (get_nccl == nullptr || get_nccl(&nccl_number) != 0)
    return fault(absl::StrCat("lacks NCCL (", libraries.nccl, " cannot be loaded)"));
  auto* get_runtime = runtime.function<GetInt>("cudaRuntimeGetVersion");
  if (get_runtime == nullptr || get_runtime(&runtime_number) != 0) {
    return fault(absl::StrCat("lacks the CUDA runtime (", libraries.runtime, " cannot be loaded)"));
  }
  if (driver_number / 1000 < runtime_number / 1000) {
    return fault(absl::StrCat("its GPU driver is for CUDA ", cuda_version(driver_number), ", NCCL ",
                              nccl_version(nccl_number), " and the kernels here are for CUDA ",
                              cuda_version(runtime_number), "; update the driver"));
  }
  return {"gpus", true,
          absl::StrCat(devices, " GPUs, driver for CUDA ", cuda_version(driver_number), ", NCCL ",
                       nccl_version(nccl_number))};
}

}  // namespace conclave::cli
