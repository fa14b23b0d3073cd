#include "cli/device_limits.h"

#include <algorithm>

#include "base/status_macros.h"
#include "kernels/device/device.h"

namespace conclave::cli {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 30;
constexpr int kRepeats = 8;

// The best of several: other work on the card only makes a copy slower.
absl::StatusOr<double> copy_rate(const device::Device& gpu) {
  const device::DeviceOps& ops = gpu.ops();
  device::Context* context = gpu.context();
  ASSIGN_OR_RETURN(const device::Memory from, gpu.alloc(kBufferBytes, "a copy test"));
  ASSIGN_OR_RETURN(const device::Memory to, gpu.alloc(kBufferBytes, "a copy test"));
  ASSIGN_OR_RETURN(const device::OwnedStream stream, gpu.make_stream(false));
  ASSIGN_OR_RETURN(const device::OwnedEvent begin, gpu.make_event(true));
  ASSIGN_OR_RETURN(const device::OwnedEvent end, gpu.make_event(true));
  RETURN_IF_ERROR(gpu.check(ops.fill_random(context, stream.get(), from.data(), device::kTypeF32,
                                            kBufferBytes / sizeof(float), 1, 1.0f)));
  double best = 0;
  for (int i = 0; i < kRepeats; ++i) {
    RETURN_IF_ERROR(gpu.check(ops.event_record(context, stream.get(), begin.get())));
    RETURN_IF_ERROR(
        gpu.check(ops.copy(context, stream.get(), to.data(), from.data(), kBufferBytes)));
    RETURN_IF_ERROR(gpu.check(ops.event_record(context, stream.get(), end.get())));
    RETURN_IF_ERROR(gpu.check(ops.stream_synchronize(context, stream.get())));
    float ms = 0;
    RETURN_IF_ERROR(gpu.check(ops.event_elapsed_ms(context, begin.get(), end.get(), &ms)));
    if (ms > 0) best = std::max(best, 2.0 * static_cast<double>(kBufferBytes) / (1e-3 * ms));
  }
  return best;
}

}  // namespace

absl::StatusOr<std::optional<DeviceLimits>> measure_device_limits(const std::string& device) {
  if (device == "cpu") return std::optional<DeviceLimits>();
  auto library = device::Library::load(device::cuda_plugin_path());
  absl::Status usable = library.status();
  if (usable.ok()) usable = (*library)->device_count().status();
  if (!usable.ok()) {
    if (device == "auto") return std::optional<DeviceLimits>();
    return usable;
  }
  ASSIGN_OR_RETURN(const auto gpu, device::Device::create(*library, 0, ComputeType::kF32));
  ASSIGN_OR_RETURN(const double rate, copy_rate(*gpu));
  return std::optional<DeviceLimits>(DeviceLimits{gpu->info().name, rate});
}

}  // namespace conclave::cli
