#include "kernels/device/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "absl/strings/str_cat.h"

namespace conclave::kernels {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

size_t alignment_of(size_t bytes) { return bytes >= kHugePage ? kHugePage : kAlignment; }

// Linux grants more than it has and kills the process that uses it: refuse what cannot be held.
bool fits_this_machine(size_t bytes) {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return bytes <= (size_t{1} << 46);
  return bytes / static_cast<size_t>(page_bytes) < static_cast<size_t>(pages);
}

}  // namespace

absl::StatusOr<Buffer> Buffer::allocate(size_t bytes) {
  if (bytes == 0) return Buffer();
  const size_t alignment = alignment_of(bytes);
  void* data = nullptr;
  if (fits_this_machine(bytes)) {
    data = ::operator new (bytes, std::align_val_t{alignment}, std::nothrow);
  }
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("host memory: cannot allocate ", bytes,
                     " bytes; lower the memory budget or use a machine with more memory"));
  }
  // Advice only: without huge pages the buffer works, with more TLB misses.
  if (bytes >= kHugePage) (void)madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return Buffer(static_cast<std::byte*>(data), bytes);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::operator delete (data_, std::align_val_t{alignment_of(bytes_)});
}

}  // namespace conclave::kernels
