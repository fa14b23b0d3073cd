#include "comm/channel/random_bytes.h"

#include <sys/random.h>
#include <sys/types.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "comm/channel/tcp_channel.h"

namespace conclave::comm {

void fill_random(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = getrandom(bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    // Only a kernel without getrandom() fails; going on with a guessable secret would be worse.
    if (got < 0) std::abort();
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

std::string make_group_secret() {
  std::array<std::byte, 32> bytes{};
  fill_random(bytes);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    text.push_back(kDigits[static_cast<unsigned>(b) >> 4]);
    text.push_back(kDigits[static_cast<unsigned>(b) & 15u]);
  }
  return text;
}

}  // namespace conclave::comm
