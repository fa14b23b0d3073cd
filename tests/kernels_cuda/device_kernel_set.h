#ifndef CONCLAVE_TESTS_KERNELS_CUDA_DEVICE_KERNEL_SET_H_
#define CONCLAVE_TESTS_KERNELS_CUDA_DEVICE_KERNEL_SET_H_

// A device back end (kernels/device_ops.h) seen as a KernelSet: every operation copies its
// arguments to the device, runs there and copies the result back, so that the tests of the host
// kernel sets run on the device unchanged. Outputs are poisoned on the device before each
// operation.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/device/plugin.h"
#include "kernels/kernel_set.h"

namespace conclave::kernels {

// The plugin named by $CONCLAVE_CUDA_PLUGIN or beside the program, if there is a device for it.
absl::StatusOr<std::shared_ptr<const device::Library>> test_device_library();

// What the test program loaded (device_sets.cc).
std::shared_ptr<const device::Library> loaded_device_library();

std::unique_ptr<KernelSet> make_device_kernel_set(std::shared_ptr<const device::Library> library,
                                                  ComputeType compute);

}  // namespace conclave::kernels

#endif  // CONCLAVE_TESTS_KERNELS_CUDA_DEVICE_KERNEL_SET_H_
