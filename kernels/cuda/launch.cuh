#ifndef CONCLAVE_KERNELS_CUDA_LAUNCH_CUH_
#define CONCLAVE_KERNELS_CUDA_LAUNCH_CUH_

// Starting a kernel so that it may be scheduled while its predecessor drains (programmatic
// dependent launch). The rule that makes this safe: every thread of every kernel calls
// wait_for_predecessor() before it touches memory that another kernel writes or reads, and before
// it returns. One exception: attention that appends keys loads older ones before it waits. They are
// from a step before (append_attention says so), and a matrix product, which lets its successor
// start only once its own predecessor is done, runs between them.

#include <cuda_runtime.h>

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {

// First statement of every kernel, or right after loads of constant data such as weights.
__device__ inline void wait_for_predecessor() {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
}

// Its two halves, for kernels that read the step's plan in between: copies bring the plan before
// the first kernel starts, so no kernel of the step writes it. load_plan() reads it past the L1
// cache, where the plan of the step before may still lie.
__device__ inline void trigger_successor() { cudaTriggerProgrammaticLaunchCompletion(); }
__device__ inline void wait_only() { cudaGridDependencySynchronize(); }

template <typename T>
__device__ inline T load_plan(const T* from) {
  static_assert(sizeof(T) % sizeof(int) == 0);
  T value;
#pragma unroll
  for (size_t i = 0; i < sizeof(T) / sizeof(int); ++i) {
    reinterpret_cast<int*>(&value)[i] = __ldcg(reinterpret_cast<const int*>(from) + i);
  }
  return value;
}
__device__ inline int32_t planned_rows(const RowCount& rows) {
  return rows.actual == nullptr ? rows.bound : min(load_plan(rows.actual), rows.bound);
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

// The same in clusters of `size` blocks of a row of the grid.
template <typename... Parameters, typename... Arguments>
cudaError_t start_clusters(void (*kernel)(Parameters...), dim3 grid, unsigned size, dim3 block,
                           size_t shared_bytes, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {size, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
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
