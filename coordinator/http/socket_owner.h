#ifndef CONCLAVE_COORDINATOR_HTTP_SOCKET_OWNER_H_
#define CONCLAVE_COORDINATOR_HTTP_SOCKET_OWNER_H_

// Whose a TCP socket of this machine is, by its two ends.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace conclave::coordinator {

// An IPv4 address that came mapped into IPv6 is an IPv4 address here.
struct SocketEnd {
  bool ipv6 = false;
  std::array<uint8_t, 16> address{};  // network order; of IPv4 the first four
  uint16_t port = 0;

  bool operator==(const SocketEnd&) const = default;
};

// The uid of the established socket with these ends in this network namespace. Nothing if there is
// none, or if it is not established: half-closed, orphaned and TIME_WAIT sockets are shown with uid
// 0 whoever had them. Asks the kernel by netlink (sock_diag), or reads /proc/net/tcp and tcp6 where
// that is not to be had. Any thread; does not block.
std::optional<uint32_t> owner_of_socket(const SocketEnd& local, const SocketEnd& remote);

// The same from the text of /proc/net/tcp or /proc/net/tcp6.
std::optional<uint32_t> owner_in_table(std::string_view table, const SocketEnd& local,
                                       const SocketEnd& remote);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_SOCKET_OWNER_H_
