#ifndef CONCLAVE_KERNELS_DEVICE_BUFFER_H_
#define CONCLAVE_KERNELS_DEVICE_BUFFER_H_

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace conclave::kernels {

// Owned host memory for weights, K/V and scratch: 64-byte aligned, uninitialised; large buffers ask
// the kernel for huge pages. Movable, not copyable. Not thread-safe as an object; its bytes are the
// owner's matter.
class Buffer {
 public:
  // RESOURCE_EXHAUSTED if the memory cannot be had. Zero bytes gives an empty buffer with data() ==
  // nullptr.
  static absl::StatusOr<Buffer> allocate(size_t bytes);

  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  Buffer(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_DEVICE_BUFFER_H_
