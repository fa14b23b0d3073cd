#include "worker/host_region.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace conclave::worker {

absl::StatusOr<HostRegion> HostRegion::create(size_t bytes, std::string_view purpose) {
  if (bytes == 0) return HostRegion();
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot map ", bytes >> 20, " MiB for ", std::string(purpose), ": ",
                     std::strerror(errno)));
  }
  // Streaming weights through 4 KiB pages costs a large part of the memory bandwidth in TLB misses.
  constexpr size_t kHugePageBytes = size_t{2} << 20;
  if (bytes >= kHugePageBytes) madvise(data, bytes, MADV_HUGEPAGE);
  return HostRegion(static_cast<std::byte*>(data), bytes);
}

HostRegion& HostRegion::operator=(HostRegion&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

HostRegion::~HostRegion() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace conclave::worker
