#ifndef CONCLAVE_COORDINATOR_HTTP_HTTP_PEER_H_
#define CONCLAVE_COORDINATOR_HTTP_HTTP_PEER_H_

// Who is at the other end of a connection.

#include <cstdint>
#include <optional>
#include <string>

namespace conclave::coordinator {

struct HttpPeer {
  std::string address;          // "127.0.0.1:41234", "[::1]:41234", "unix"
  std::optional<uint32_t> uid;  // of the process that connected; absent: not asked for, of another
                                // host or network namespace, or the kernel does not tell
};

// socket: a connected stream socket (IPv4, IPv6 or Unix). With find_uid the kernel is asked whose
// the other end is; only an established socket counts, since one whose process has let go of it is
// shown as root's. The answer holds for as long as the connection lasts: its two addresses cannot
// belong to another socket meanwhile. Any thread; does not block.
HttpPeer identify_peer(int socket, bool find_uid);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_HTTP_PEER_H_
