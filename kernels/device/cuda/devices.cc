#include <cstdio>
#include <cstdlib>
#include <memory>

#include "kernels/device/cuda/ops.h"
#include "kernels/device/cuda/runtime.h"

namespace conclave::device::cuda {
namespace {

// This plugin carries code for compute capability 9.0 alone (wgmma needs the architecture-specific
// kind).
constexpr int kMajor = 9;
constexpr int kMinor = 0;

Status hand_over(Status status, char* message, size_t message_bytes) {
  if (status != kOk) std::snprintf(message, message_bytes, "%s", last_message());
  return status;
}

void version_text(int version, char* text, size_t bytes) {
  std::snprintf(text, bytes, "%d.%d", version / 1000, version % 1000 / 10);
}

Status count_devices(int32_t* count) {
  // Loading a kernel at its first use would wait for the whole GPU, also for kernels that wait for a peer.
  setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  int found = 0;
  const cudaError_t error = cudaGetDeviceCount(&found);
  *count = found;
  if (error == cudaErrorNoDevice) return fail(kNoDevice, "the driver sees no GPU");
  if (error == cudaErrorInsufficientDriver) {
    return fail(kNoDevice, "no NVIDIA driver, or one older than this build's CUDA");
  }
  return check(error, "cudaGetDeviceCount");
}

Status describe(int32_t index, DeviceInfo* info) {
  cudaDeviceProp properties{};
  Status status = check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  if (status != kOk) return status;
  *info = DeviceInfo{};
  std::snprintf(info->name, sizeof info->name, "%s", properties.name);
  info->index = index;
  info->major = properties.major;
  info->minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->memory_total = properties.totalGlobalMem;
  info->memory_free = properties.totalGlobalMem;
  int version = 0;
  cudaDriverGetVersion(&version);
  version_text(version, info->driver, sizeof info->driver);
  cudaRuntimeGetVersion(&version);
  version_text(version, info->runtime, sizeof info->runtime);
  return kOk;
}

Status open(int32_t index, int32_t compute_type, std::unique_ptr<Context>* out) {
  int32_t count = 0;
  Status status = count_devices(&count);
  if (status != kOk) return status;
  if (index < 0 || index >= count) {
    return fail(kNoDevice, "there is no GPU %d; the driver sees %d", index, count);
  }
  cudaDeviceProp properties{};
  status = check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  if (status != kOk) return status;
  if (properties.major != kMajor || properties.minor != kMinor) {
    return fail(kNoDevice, "GPU %d (%s) has compute capability %d.%d; this build needs %d.%d",
                index, properties.name, properties.major, properties.minor, kMajor, kMinor);
  }
  status = check(cudaSetDevice(index), "cudaSetDevice");
  if (status != kOk) return status;
  auto context = std::make_unique<Context>();
  context->index = index;
  context->compute_type = compute_type;
  context->machine.multiprocessors = properties.multiProcessorCount;
  const char* tuning = std::getenv("CONCLAVE_CUDA_TUNING");
  if (!parse_tuning(tuning, &context->machine.tuning)) {
    return fail(kInvalidArgument, "CONCLAVE_CUDA_TUNING: cannot read '%s'", tuning);
  }
  context->shared_bytes_per_block = static_cast<int32_t>(properties.sharedMemPerBlockOptin);
  *out = std::move(context);
  return kOk;
}

}  // namespace

Status device_count(int32_t* count, char* message, size_t message_bytes) {
  return hand_over(count_devices(count), message, message_bytes);
}

Status device_info(int32_t index, DeviceInfo* info, char* message, size_t message_bytes) {
  return hand_over(describe(index, info), message, message_bytes);
}

Status create(int32_t index, int32_t compute_type, Context** out, char* message,
              size_t message_bytes) {
  std::unique_ptr<Context> context;
  const Status status = open(index, compute_type, &context);
  *out = context.release();
  return hand_over(status, message, message_bytes);
}

void destroy(Context* context) {
  if (context == nullptr) return;
  cudaSetDevice(context->index);
  destroy_scratch(context);
  delete context;
}

const char* message(Context* context) { return last_message(); }

Status reserve(Context* context, const Limits* limits) {
  const Status status = check(cudaSetDevice(context->index), "cudaSetDevice");
  if (status != kOk) return status;
  destroy_scratch(context);
  context->limits = *limits;
  return create_scratch(context);
}

}  // namespace conclave::device::cuda
