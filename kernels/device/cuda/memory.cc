#include "kernels/device/cuda/runtime.h"

namespace conclave::device::cuda {

// Copies and packing may come from loader threads, whose current device is still the first one.
Status alloc(Context* context, size_t bytes, void** out) {
  const Status status = check(cudaSetDevice(context->index), "cudaSetDevice");
  if (status != kOk) return status;
  const cudaError_t error = cudaMalloc(out, bytes);
  if (error != cudaErrorMemoryAllocation) return check(error, "cudaMalloc");
  cudaGetLastError();
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  cudaMemGetInfo(&free_bytes, &total_bytes);
  return fail(kNoMemory, "GPU %d has no %zu MiB left (%zu of %zu MiB free)", context->index,
              bytes >> 20, free_bytes >> 20, total_bytes >> 20);
}

Status free(Context* context, void* memory) { return check(cudaFree(memory), "cudaFree"); }

Status alloc_pinned(Context* context, size_t bytes, void** out) {
  const Status status = check(cudaSetDevice(context->index), "cudaSetDevice");
  if (status != kOk) return status;
  return check(cudaHostAlloc(out, bytes, cudaHostAllocDefault), "cudaHostAlloc");
}

Status free_pinned(Context* context, void* memory) {
  return check(cudaFreeHost(memory), "cudaFreeHost");
}

// A step begins with a copy, perhaps on a thread that has not used this device before.
Status copy(Context* context, Stream* stream, void* to, const void* from, size_t bytes) {
  const Status status = check(cudaSetDevice(context->index), "cudaSetDevice");
  if (status != kOk) return status;
  return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, native(stream)),
               "cudaMemcpyAsync");
}

Status fill(Context* context, Stream* stream, void* to, int32_t byte, size_t bytes) {
  return check(cudaMemsetAsync(to, byte, bytes, native(stream)), "cudaMemsetAsync");
}

Status memory_info(Context* context, uint64_t* free_bytes, uint64_t* total_bytes) {
  size_t free_now = 0;
  size_t total = 0;
  const Status status = check(cudaMemGetInfo(&free_now, &total), "cudaMemGetInfo");
  *free_bytes = free_now;
  *total_bytes = total;
  return status;
}

}  // namespace conclave::device::cuda
