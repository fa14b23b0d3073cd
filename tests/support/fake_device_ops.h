#ifndef CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_OPS_H_
#define CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_OPS_H_

#include "kernels/device_ops.h"

namespace conclave::device {

// A second implementation of the device seam, on the host and on kernels/reference: work is done at
// once, and a graph is the list of calls that were made while it was captured, run again on what
// the memory holds then. Device memory is poisoned when it is allocated. "Devices" of several
// threads of one process can talk to each other. Name: "fake".
const DeviceOps* fake_device_ops();

inline constexpr int32_t kFakeDevices = 8;

}  // namespace conclave::device

#endif  // CONCLAVE_TESTS_SUPPORT_FAKE_DEVICE_OPS_H_
