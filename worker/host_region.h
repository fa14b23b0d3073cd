#ifndef CONCLAVE_WORKER_HOST_REGION_H_
#define CONCLAVE_WORKER_HOST_REGION_H_

#include <cstddef>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace conclave::worker {

// One anonymous memory mapping, zero-filled, whose pages cost memory only once they are touched: weights,
// K/V blocks and step buffers are sized for their worst case without paying for it. Move-only.
class HostRegion {
 public:
  // RESOURCE_EXHAUSTED names `purpose` and the size. bytes == 0 gives an empty region.
  static absl::StatusOr<HostRegion> create(size_t bytes, std::string_view purpose);
  HostRegion() = default;
  HostRegion(HostRegion&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  HostRegion& operator=(HostRegion&& other) noexcept;
  ~HostRegion();

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  HostRegion(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

inline constexpr size_t kRegionAlignment = 64;  // what KernelSet asks of packed matrices
constexpr size_t align_region(size_t bytes) {
  return (bytes + kRegionAlignment - 1) / kRegionAlignment * kRegionAlignment;
}

// Hands out consecutive 64-byte aligned pieces. Run it once with base == nullptr to learn the size, then
// again over the region: both passes execute the same code, so sizes cannot disagree.
class RegionCursor {
 public:
  explicit RegionCursor(std::byte* base) : base_(base) {}
  std::byte* take(size_t bytes) {
    std::byte* piece = base_ == nullptr ? nullptr : base_ + used_;
    used_ += align_region(bytes);
    return piece;
  }
  template <typename T>
  T* take_array(size_t count) {
    return reinterpret_cast<T*>(take(count * sizeof(T)));
  }
  size_t used() const { return used_; }

 private:
  std::byte* base_;
  size_t used_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_HOST_REGION_H_
