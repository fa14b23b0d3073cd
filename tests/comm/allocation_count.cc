#include "tests/comm/allocation_count.h"

#include <cstdlib>
#include <new>

// Sanitizers bring an operator new of their own, which must stay.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONCLAVE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CONCLAVE_SANITIZED 1
#endif
#endif

#ifdef CONCLAVE_SANITIZED

namespace conclave::comm {
std::optional<int64_t> allocation_count() { return std::nullopt; }
}  // namespace conclave::comm

#else

namespace {

thread_local int64_t count_of_thread = 0;

void* counted(std::size_t bytes) {
  ++count_of_thread;
  if (void* memory = std::malloc(bytes != 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

}  // namespace

namespace conclave::comm {
std::optional<int64_t> allocation_count() { return count_of_thread; }
}  // namespace conclave::comm

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

#endif
