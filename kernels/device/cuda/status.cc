#include <cstdarg>
#include <cstdio>

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {
namespace {

constexpr size_t kMessageBytes = 512;

char* message_buffer() {
  thread_local char buffer[kMessageBytes] = "";
  return buffer;
}

Status status_of(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return kOk;
    case cudaErrorMemoryAllocation:
      return kNoMemory;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDevice:
    case cudaErrorSystemDriverMismatch:
      return kNoDevice;
    default:
      return kFailed;
  }
}

}  // namespace

Status fail(Status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message_buffer(), kMessageBytes, format, arguments);
  va_end(arguments);
  return status;
}

const char* last_message() { return message_buffer(); }

Status check(cudaError_t error, const char* operation) {
  if (error == cudaSuccess) return kOk;
  cudaGetLastError();  // not sticky: the next launch must not report it again
  return fail(status_of(error), "%s: %s (%s)", operation, cudaGetErrorString(error),
              cudaGetErrorName(error));
}

Status launched(const char* kernel, int64_t rows, int64_t n, int64_t k) {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return kOk;
  return fail(status_of(error), "kernel %s (rows %lld, n %lld, k %lld): %s (%s)", kernel,
              static_cast<long long>(rows), static_cast<long long>(n), static_cast<long long>(k),
              cudaGetErrorString(error), cudaGetErrorName(error));
}

}  // namespace conclave::device::cuda
