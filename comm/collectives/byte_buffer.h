#ifndef CONCLAVE_COMM_COLLECTIVES_BYTE_BUFFER_H_
#define CONCLAVE_COMM_COLLECTIVES_BYTE_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace conclave::comm {

// Receive memory that is written before it is read: growing neither zeroes nor copies, so reserved
// pages cost nothing until a message touches them.
class ByteBuffer {
 public:
  // Room for messages of up to `bytes`; the content is lost when this grows.
  void reserve(size_t bytes) {
    if (bytes <= capacity_) return;
    data_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    capacity_ = bytes;
    size_ = 0;
  }
  // Grows by half at least, so that slowly growing messages soon stop allocating.
  void resize_for_overwrite(size_t bytes) {
    if (bytes > capacity_) reserve(std::max(bytes, capacity_ + capacity_ / 2));
    size_ = bytes;
  }
  std::byte* data() { return data_.get(); }
  size_t size() const { return size_; }
  std::span<const std::byte> view() const { return {data_.get(), size_}; }
  void swap(ByteBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  // Gives the memory up without freeing it, for a transport that may still write to it.
  void leak() {
    [[maybe_unused]] std::byte* leaked = data_.release();
    size_ = capacity_ = 0;
  }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COLLECTIVES_BYTE_BUFFER_H_
