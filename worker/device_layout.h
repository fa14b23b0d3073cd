#ifndef CONCLAVE_WORKER_DEVICE_LAYOUT_H_
#define CONCLAVE_WORKER_DEVICE_LAYOUT_H_

#include <cstddef>

namespace conclave::worker {

// Hands out consecutive 256-byte aligned pieces of a device allocation. Run it once from null to
// learn the size, then again over the memory; both passes execute the same code.
class DeviceCursor {
 public:
  explicit DeviceCursor(std::byte* base) : base_(base) {}
  std::byte* take(size_t bytes) {
    std::byte* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return piece;
  }
  template <typename T>
  T* take_array(size_t count) {
    return reinterpret_cast<T*>(take(count * sizeof(T)));
  }
  size_t used() const { return used_; }

 private:
  static constexpr size_t kAlignment = 256;
  std::byte* base_;
  size_t used_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_LAYOUT_H_
