#ifndef CONCLAVE_COMM_COLLECTIVES_PENDING_MESSAGES_H_
#define CONCLAVE_COMM_COLLECTIVES_PENDING_MESSAGES_H_

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "comm/collectives/byte_buffer.h"
#include "comm/collectives/message_port.h"

namespace conclave::comm {

// The messages of one collective on one rank: at most one to each peer, at most one from each, all
// with one tag. Sizes come with the messages, so no round of counts is needed. Reused without
// allocating; used by the communicator's thread.
class PendingMessages {
 public:
  PendingMessages(MessagePort* port, size_t max_bytes_per_peer);
  void reserve(size_t max_bytes_per_peer);

  // Forgets the last use. Precondition: complete().
  void start(int tag);
  void expect(int peer);
  absl::Status send(int peer, std::span<const std::byte> bytes);
  // Moves traffic along without waiting.
  absl::Status poll();
  bool complete() const { return open_ == 0; }
  std::span<const std::byte> received(int peer) const { return peers_[peer].buffer.view(); }

  // Who keeps this collective from completing.
  std::vector<int> silent_peers() const;       // have not sent (all of) their message
  std::vector<int> unreceptive_peers() const;  // have not taken the message sent to them
  // See MessagePort::abandon().
  void leak_buffers();

 private:
  enum class Receive : uint8_t { kNone, kExpected, kArriving, kDone };
  struct Peer {
    ByteBuffer buffer;
    RequestId send = kCompletedRequest;
    RequestId receive = kCompletedRequest;
    Receive state = Receive::kNone;
  };
  absl::Status poll_arrivals();

  MessagePort* port_;
  std::vector<Peer> peers_;
  int tag_ = 0;
  int expected_ = 0;  // messages not yet matched
  int open_ = 0;      // transfers not yet complete, in both directions
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COLLECTIVES_PENDING_MESSAGES_H_
