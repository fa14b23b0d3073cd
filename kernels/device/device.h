#ifndef CONCLAVE_KERNELS_DEVICE_DEVICE_H_
#define CONCLAVE_KERNELS_DEVICE_DEVICE_H_

// RAII over the C ABI of kernels/device_ops.h: a device with its memory, streams, events and
// graphs, and its errors as absl::Status. Everything made from a Device must go before it.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "kernels/device/plugin.h"

namespace conclave::device {

class Device;

// Memory of the device, or pinned memory of the host. Move-only.
class Memory {
 public:
  Memory() = default;
  Memory(Memory&& other) noexcept { *this = std::move(other); }
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  friend class Device;
  Memory(const Device* device, std::byte* data, size_t bytes, bool pinned)
      : device_(device), data_(data), bytes_(bytes), pinned_(pinned) {}
  const Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  bool pinned_ = false;
};

// A stream, event or graph: its handle and how to end it. Move-only.
template <typename Handle, Status (*DeviceOps::*Destroy)(Context*, Handle*)>
class Owned {
 public:
  Owned() = default;
  Owned(const Device* device, Handle* handle) : device_(device), handle_(handle) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  inline ~Owned();
  Handle* get() const { return handle_; }

 private:
  const Device* device_ = nullptr;
  Handle* handle_ = nullptr;
};
using OwnedStream = Owned<Stream, &DeviceOps::stream_destroy>;
using OwnedEvent = Owned<Event, &DeviceOps::event_destroy>;
using OwnedGraph = Owned<Graph, &DeviceOps::graph_destroy>;

class Device {
 public:
  // UNAVAILABLE: no such device, or one this back end has no code for.
  static absl::StatusOr<std::unique_ptr<Device>> create(std::shared_ptr<const Library> library,
                                                        int index, ComputeType compute);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceOps& ops() const { return library_->ops(); }
  Context* context() const { return context_; }
  std::string_view name() const { return ops().name; }
  ComputeType compute_type() const { return compute_; }
  DType act_dtype() const { return activation_dtype(compute_); }
  int index() const { return index_; }
  const DeviceInfo& info() const { return info_; }
  // What a function of ops() returned on this thread; errors name the device.
  absl::Status check(Status status) const;

  // RESOURCE_EXHAUSTED names `purpose` and the size. bytes == 0 gives empty memory.
  absl::StatusOr<Memory> alloc(size_t bytes, std::string_view purpose) const;
  absl::StatusOr<Memory> alloc_pinned(size_t bytes, std::string_view purpose) const;
  absl::StatusOr<OwnedStream> make_stream(bool high_priority) const;
  absl::StatusOr<OwnedEvent> make_event(bool timing) const;

 private:
  Device(std::shared_ptr<const Library> library, int index, ComputeType compute)
      : library_(std::move(library)), index_(index), compute_(compute) {}
  std::shared_ptr<const Library> library_;
  int index_;
  ComputeType compute_;
  Context* context_ = nullptr;
  DeviceInfo info_{};
};

template <typename Handle, Status (*DeviceOps::*Destroy)(Context*, Handle*)>
Owned<Handle, Destroy>::~Owned() {
  if (handle_ != nullptr) (device_->ops().*Destroy)(device_->context(), handle_);
}

}  // namespace conclave::device

#endif  // CONCLAVE_KERNELS_DEVICE_DEVICE_H_
