#ifndef CONCLAVE_COMM_CHANNEL_CHANNEL_H_
#define CONCLAVE_COMM_CHANNEL_CHANNEL_H_

// Ordered, framed control messages between the coordinator and one rank.
// Two ends: `Channel` (the rank: blocking calls with a deadline) and `ChannelPeer` (the
// coordinator: callbacks, never blocks). TCP between processes (tcp_channel.h), or in one process
// (local_channel.h).

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/deadline.h"

namespace conclave::comm {

inline constexpr uint32_t kMaxFrameBytes = 1u << 30;

struct Frame {
  uint16_t type = 0;  // meaning belongs to protocol/
  std::vector<std::byte> payload;
};

// The rank's end. send() may be called by several threads; receive() by one at a time.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual absl::Status send(uint16_t type, std::span<const std::byte> payload,
                            Deadline deadline) = 0;
  // DEADLINE_EXCEEDED when nothing came; UNAVAILABLE once the peer is gone (frames sent before are
  // delivered first).
  virtual absl::StatusOr<Frame> receive(Deadline deadline) = 0;
  virtual void close() = 0;  // wakes a blocked receive(); any thread
};

// The coordinator's end. send() and close() may be called by any thread and never block.
// Frames queued before close() still go out, for a second at most. Destroying a peer closes it and
// may happen on any thread, also inside a handler; once the destructor has returned no handler
// runs, so on_closed may then not come. From outside a handler the destructor waits for a handler
// that runs: do not hold a lock that handlers take.
class ChannelPeer {
 public:
  struct Handlers {
    std::function<void(Frame)> on_frame;  // on the channel's I/O thread, in order
    // Once, last; also after close(). OK: closed by this side; UNAVAILABLE: the peer is gone or
    // sent what is no frame.
    std::function<void(absl::Status)> on_closed;
  };
  virtual ~ChannelPeer() = default;
  // Must be called once, before any frame is delivered. If the connection is gone already,
  // on_closed may run inside this call.
  virtual void start(Handlers handlers) = 0;
  // RESOURCE_EXHAUSTED when the bounded send queue is full, UNAVAILABLE when closed.
  virtual absl::Status send(uint16_t type, std::vector<std::byte> payload) = 0;
  virtual void close() = 0;
  virtual std::string remote_address() const = 0;  // "127.0.0.1:4711" or "local"
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_CHANNEL_H_
