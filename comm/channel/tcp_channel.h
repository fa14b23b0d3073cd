#ifndef CONCLAVE_COMM_CHANNEL_TCP_CHANNEL_H_
#define CONCLAVE_COMM_CHANNEL_TCP_CHANNEL_H_

// Control messages over TCP. A connection opens with a version check and a mutual challenge: each
// side proves that it knows the group's secret (HMAC-SHA256 over both nonces); the secret itself
// never travels.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "comm/channel/channel.h"

namespace conclave::comm {

inline constexpr uint16_t kProtocolVersion = 2;

class ChannelListener {
 public:
  struct Options {
    std::string address = "127.0.0.1";
    uint16_t port = 0;   // 0: any free port
    std::string secret;  // not empty
    std::chrono::milliseconds handshake_timeout{5000};
    size_t max_queued_bytes = size_t{256} << 20;  // per connection
    int max_connections = 4096;
  };
  // Stops accepting and closes every connection as ChannelPeer::close() does; peers may outlive it.
  virtual ~ChannelListener() = default;
  // on_connection runs on the listener's I/O thread, after a successful handshake. Connections that
  // fail it are closed and logged, once each. UNAVAILABLE: the address or port cannot be had.
  static absl::StatusOr<std::unique_ptr<ChannelListener>> listen(
      const Options& options, std::function<void(std::unique_ptr<ChannelPeer>)> on_connection);
  virtual uint16_t port() const = 0;
};

// Retries refused connections until the deadline. DEADLINE_EXCEEDED: nobody listens or answers;
// UNAUTHENTICATED: wrong secret; FAILED_PRECONDITION: other version; INVALID_ARGUMENT: no Conclave
// listener; NOT_FOUND: unknown host; UNAVAILABLE: closed during the handshake. Looking up a host
// name follows the system resolver's own time limits.
absl::StatusOr<std::unique_ptr<Channel>> connect_channel(const std::string& host, uint16_t port,
                                                         const std::string& secret,
                                                         Deadline deadline);

// 32 random bytes, hex.
std::string make_group_secret();

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_TCP_CHANNEL_H_
