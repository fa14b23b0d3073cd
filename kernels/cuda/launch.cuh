#ifndef CONCLAVE_KERNELS_CUDA_LAUNCH_CUH_
#define CONCLAVE_KERNELS_CUDA_LAUNCH_CUH_

// Starting a kernel so that it may be scheduled while its predecessor drains (programmatic
// dependent launch). The rule that makes this safe: every thread of every kernel calls
// wait_for_predecessor() before it touches memory that another kernel writes or reads, and before
// it returns.

#include <cuda_runtime.h>

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {

// First statement of every kernel, or right after loads of constant data such as weights.
__device__ inline void wait_for_predecessor() {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
}

// The same, but the successor starts only once this kernel's predecessor is done, so that the
// successor may read what the predecessor wrote before it waits itself.
__device__ inline void wait_for_predecessor_then_trigger() {
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
}

template <typename... Parameters, typename... Arguments>
cudaError_t start(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                  cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// Once per kernel that needs more than 48 KB of shared memory; not a stream operation.
template <typename Kernel>
cudaError_t allow_shared(Kernel kernel, size_t bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_LAUNCH_CUH_
