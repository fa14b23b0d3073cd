#ifndef CONCLAVE_TESTS_COMM_ALLOCATION_COUNT_H_
#define CONCLAVE_TESTS_COMM_ALLOCATION_COUNT_H_

#include <cstdint>
#include <optional>

namespace conclave::comm {

// Calls of operator new by this thread since it started; nothing in sanitizer builds. Linking
// allocation_count.cc replaces the global operator new of the program.
std::optional<int64_t> allocation_count();

}  // namespace conclave::comm

#endif  // CONCLAVE_TESTS_COMM_ALLOCATION_COUNT_H_
