#ifndef CONCLAVE_KERNELS_DEVICE_PLUGIN_H_
#define CONCLAVE_KERNELS_DEVICE_PLUGIN_H_

// Finds and loads a device back end (kernels/device_ops.h). Programs carry no CUDA: the plugin is
// opened only when a GPU is wanted, and everything that may be missing (plugin, CUDA's libraries,
// driver, GPU) becomes a sentence.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/device_ops.h"

namespace conclave::device {

// A loaded back end; stays loaded while anybody holds it. Any thread may use it.
class Library {
 public:
  // NOT_FOUND: no such file; FAILED_PRECONDITION: a library it needs is missing, or it was built
  // for another version of this program.
  static absl::StatusOr<std::shared_ptr<const Library>> load(const std::string& path);
  // A table that lives in this program (tests).
  static std::shared_ptr<const Library> of(const DeviceOps* ops);
  ~Library();

  const DeviceOps& ops() const { return *ops_; }
  // GPUs that the driver shows; at least one. UNAVAILABLE says why there is none.
  absl::StatusOr<int> device_count() const;
  absl::StatusOr<DeviceInfo> device_info(int index) const;

 private:
  Library(void* handle, const DeviceOps* ops) : handle_(handle), ops_(ops) {}
  void* handle_;  // of dlopen; null for a table in this program
  const DeviceOps* ops_;
};

// Where the CUDA plugin of this program should be: $CONCLAVE_CUDA_PLUGIN, else beside the program
// (../lib/conclave for bin, ../../lib/conclave for libexec/conclave), the first that exists.
std::string cuda_plugin_path();

}  // namespace conclave::device

#endif  // CONCLAVE_KERNELS_DEVICE_PLUGIN_H_
