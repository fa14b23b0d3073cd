#ifndef CONCLAVE_KERNELS_DEVICE_CUDA_CONTEXT_H_
#define CONCLAVE_KERNELS_DEVICE_CUDA_CONTEXT_H_

// What the functions of the CUDA plugin share: the context and the mapping of CUDA's errors.

#include <cuda_runtime_api.h>

#include "kernels/cuda/tuning.h"
#include "kernels/device_ops.h"

namespace conclave::device {

namespace cuda {
struct Scratch;  // owned by kernels/cuda; see ops.h
}

struct Context {
  int32_t index = 0;
  int32_t compute_type = kComputeF32;
  cuda::Machine machine;
  int32_t shared_bytes_per_block = 0;  // with opt-in
  Limits limits{};
  cuda::Scratch* scratch = nullptr;
};

namespace cuda {

// Handles of the seam are CUDA's own.
inline cudaStream_t native(Stream* stream) { return reinterpret_cast<cudaStream_t>(stream); }
inline cudaEvent_t native(Event* event) { return reinterpret_cast<cudaEvent_t>(event); }
inline cudaGraphExec_t native(Graph* graph) { return reinterpret_cast<cudaGraphExec_t>(graph); }

// Keeps one printf-formatted clause as the calling thread's message and returns `status`.
Status fail(Status status, const char* format, ...) __attribute__((format(printf, 2, 3)));
const char* last_message();

// kOk, or the error as a Status with "<operation>: <CUDA's words>" as message.
Status check(cudaError_t error, const char* operation);
// To be called after each launch: the launch's error with the kernel's name and shape.
Status launched(const char* kernel, int64_t rows, int64_t n = 0, int64_t k = 0);

}  // namespace cuda
}  // namespace conclave::device

#endif  // CONCLAVE_KERNELS_DEVICE_CUDA_CONTEXT_H_
