// Stands in for libcuda, libcudart and libnccl in tests of the pre-flight: two GPUs, CUDA 13.0,
// NCCL 2.28.3. Environment variables make it lie.

#include <cstdlib>

namespace {
int from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}
}  // namespace

extern "C" {
int cuInit(unsigned) { return from_environment("FAKE_CUDA_INIT", 0); }
int cuDeviceGetCount(int* count) { return *count = from_environment("FAKE_CUDA_DEVICES", 2), 0; }
int cuDriverGetVersion(int* version) {
  return *version = from_environment("FAKE_CUDA_DRIVER", 13000), 0;
}
int cudaRuntimeGetVersion(int* version) { return *version = 13000, 0; }
int ncclGetVersion(int* version) { return *version = 22803, 0; }
}
