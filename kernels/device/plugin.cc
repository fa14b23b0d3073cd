#include "kernels/device/plugin.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace conclave::device {
namespace {

constexpr char kEntry[] = "conclave_device_ops";
constexpr char kFileName[] = "conclave_cuda.so";
constexpr size_t kMessageBytes = 512;

}  // namespace

absl::StatusOr<std::shared_ptr<const Library>> Library::load(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(
        absl::StrCat("this build has no CUDA back end (", path,
                     " is not there): build with CONCLAVE_WITH_CUDA=ON, or use --device cpu"));
  }
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    return absl::FailedPreconditionError(
        absl::StrCat("cannot load the CUDA back end: ", reason == nullptr ? path.c_str() : reason,
                     "; install CUDA's run-time libraries, or use --device cpu"));
  }
  using Entry = const DeviceOps* (*)(uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, kEntry));
  const DeviceOps* ops = entry == nullptr ? nullptr : entry(kAbiVersion);
  if (ops == nullptr || ops->abi_version != kAbiVersion || ops->struct_bytes != sizeof(DeviceOps)) {
    dlclose(handle);
    return absl::FailedPreconditionError(absl::StrCat(
        path, " was built for another version of Conclave; install both from the same build"));
  }
  return std::shared_ptr<const Library>(new Library(handle, ops));
}

std::shared_ptr<const Library> Library::of(const DeviceOps* ops) {
  return std::shared_ptr<const Library>(new Library(nullptr, ops));
}

// The plugin stays mapped: CUDA's run time keeps threads and exit handlers that must not lose their
// code.
Library::~Library() = default;

absl::StatusOr<int> Library::device_count() const {
  std::array<char, kMessageBytes> message{};
  int32_t count = 0;
  const Status status = ops_->device_count(&count, message.data(), message.size());
  if (status == kOk && count > 0) return count;
  return absl::UnavailableError(
      absl::StrCat("no usable GPU: ", status == kOk ? "the driver sees none" : message.data(),
                   "; use --device cpu"));
}

absl::StatusOr<DeviceInfo> Library::device_info(int index) const {
  std::array<char, kMessageBytes> message{};
  DeviceInfo info{};
  if (ops_->device_info(index, &info, message.data(), message.size()) == kOk) return info;
  return absl::UnavailableError(absl::StrCat("GPU ", index, ": ", message.data()));
}

std::string cuda_plugin_path() {
  namespace fs = std::filesystem;
  if (const char* path = std::getenv("CONCLAVE_CUDA_PLUGIN"); path != nullptr) return path;
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  const std::array<fs::path, 3> folders = {folder / "../lib/conclave",
                                           folder / "../../lib/conclave", folder};
  for (const fs::path& candidate : folders) {
    if (fs::exists(candidate / kFileName, error)) {
      return (candidate / kFileName).lexically_normal().string();
    }
  }
  return (folders[0] / kFileName).lexically_normal().string();
}

}  // namespace conclave::device
