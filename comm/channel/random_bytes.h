#ifndef CONCLAVE_COMM_CHANNEL_RANDOM_BYTES_H_
#define CONCLAVE_COMM_CHANNEL_RANDOM_BYTES_H_

#include <cstddef>
#include <span>

namespace conclave::comm {

// From the kernel's generator; good enough for keys.
void fill_random(std::span<std::byte> bytes);

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_RANDOM_BYTES_H_
