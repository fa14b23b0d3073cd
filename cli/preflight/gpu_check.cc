#include <dlfcn.h>

#include <algorithm>
#include <string>

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

// What the kernels of our plugin are built for, which has its CUDA runtime inside.
constexpr int kKernelsCuda = 13000;

// What the library's function says; 0 if there is no such library.
int version_of(const std::string& name, const char* function) {
  const Library library(name);
  auto* get = library.function<GetInt>(function);
  int number = 0;
  return get != nullptr && get(&number) == 0 ? number : 0;
}

CheckResult fault(std::string message) { return {"gpus", false, std::move(message)}; }

}  // namespace

CheckResult check_gpus(const GpuNeeds& needs, const GpuLibraries& libraries) {
  if (needs.gpus <= 0) return {"gpus", true, "no GPUs asked for"};
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
  if (devices < needs.gpus)
    return fault(absl::StrCat("shows ", devices, " of ", needs.gpus, " GPUs; see nvidia-smi there"));
  const int needed = std::max(kKernelsCuda, version_of(libraries.runtime, "cudaRuntimeGetVersion"));
  const int nccl = version_of(libraries.nccl, "ncclGetVersion");
  const std::string nccl_text = nccl == 0 ? "no NCCL" : absl::StrCat("NCCL ", nccl_version(nccl));
  if (nccl == 0 && needs.other_nodes)
    return fault(absl::StrCat("lacks NCCL (", libraries.nccl,
                              " cannot be loaded), which GPUs of several nodes need"));
  if (driver_number / 1000 < needed / 1000) {
    return fault(absl::StrCat("its GPU driver is for CUDA ", cuda_version(driver_number), ", ", nccl_text,
                              " and the kernels here are for CUDA ", cuda_version(needed), "; update the driver"));
  }
  return {"gpus", true,
          absl::StrCat(devices, " GPUs, driver for CUDA ", cuda_version(driver_number), ", ", nccl_text)};
}

}  // namespace conclave::cli
