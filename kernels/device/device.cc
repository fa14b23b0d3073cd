#include "kernels/device/device.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::device {
namespace {

absl::StatusCode code_of(Status status) {
  switch (status) {
    case kOk:
      return absl::StatusCode::kOk;
    case kInvalidArgument:
      return absl::StatusCode::kInvalidArgument;
    case kUnimplemented:
      return absl::StatusCode::kUnimplemented;
    case kNoMemory:
      return absl::StatusCode::kResourceExhausted;
    case kNoDevice:
    case kPeerLost:
      return absl::StatusCode::kUnavailable;
    case kFailed:
      break;
  }
  return absl::StatusCode::kInternal;
}

}  // namespace

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(pinned_, other.pinned_);
  return *this;
}

Memory::~Memory() {
  if (data_ == nullptr) return;
  const DeviceOps& ops = device_->ops();
  pinned_ ? ops.free_pinned(device_->context(), data_) : ops.free(device_->context(), data_);
}

absl::StatusOr<std::unique_ptr<Device>> Device::create(std::shared_ptr<const Library> library,
                                                       int index, ComputeType compute) {
  std::unique_ptr<Device> device(new Device(std::move(library), index, compute));
  std::array<char, 512> message{};
  const auto type = compute == ComputeType::kF32 ? kComputeF32 : kComputeBF16;
  const Status status =
      device->ops().create(index, type, &device->context_, message.data(), message.size());
  if (status != kOk) {
    device->context_ = nullptr;
    return absl::Status(code_of(status), absl::StrCat(message.data(), "; use --device cpu"));
  }
  ASSIGN_OR_RETURN(device->info_, device->library_->device_info(index));
  return device;
}

Device::~Device() {
  if (context_ != nullptr) ops().destroy(context_);
}

absl::Status Device::check(Status status) const {
  if (status == kOk) return absl::OkStatus();
  return absl::Status(code_of(status), absl::StrCat("GPU ", index_, ": ", ops().message(context_)));
}

absl::StatusOr<Memory> Device::alloc(size_t bytes, std::string_view purpose) const {
  if (bytes == 0) return Memory();
  void* data = nullptr;
  const Status status = ops().alloc(context_, bytes, &data);
  if (status == kOk) return Memory(this, static_cast<std::byte*>(data), bytes, false);
  return absl::Status(code_of(status),
                      absl::StrCat("no ", bytes >> 20, " MiB for ", std::string(purpose), ": ",
                                   ops().message(context_)));
}

absl::StatusOr<Memory> Device::alloc_pinned(size_t bytes, std::string_view purpose) const {
  if (bytes == 0) return Memory();
  void* data = nullptr;
  const Status status = ops().alloc_pinned(context_, bytes, &data);
  if (status == kOk) return Memory(this, static_cast<std::byte*>(data), bytes, true);
  return absl::Status(code_of(status),
                      absl::StrCat("no ", bytes >> 20, " MiB of pinned memory for ",
                                   std::string(purpose), ": ", ops().message(context_)));
}

absl::StatusOr<OwnedStream> Device::make_stream(bool high_priority) const {
  Stream* stream = nullptr;
  RETURN_IF_ERROR(check(ops().stream_create(context_, high_priority ? 1 : 0, &stream)));
  return OwnedStream(this, stream);
}

absl::StatusOr<OwnedEvent> Device::make_event(bool timing) const {
  Event* event = nullptr;
  RETURN_IF_ERROR(check(ops().event_create(context_, timing ? 1 : 0, &event)));
  return OwnedEvent(this, event);
}

}  // namespace conclave::device
