#ifndef CONCLAVE_COMM_COLLECTIVES_MESSAGE_PORT_H_
#define CONCLAVE_COMM_COLLECTIVES_MESSAGE_PORT_H_

// The little that a transport must offer so that MessageCommunicator can build collectives on it:
// tagged messages between two ranks, polled. No call here waits, except wait(), which is bounded.
// Used by one thread. Steady state allocates nothing.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/collectives/byte_buffer.h"

namespace conclave::comm {

// A transfer under way; recycled by the port once test() has said true.
using RequestId = int32_t;
inline constexpr RequestId kCompletedRequest = -1;

// Message counts are ints in MPI, so one message stays well below 2 GiB.
inline constexpr size_t kMaxMessageBytes = size_t{1} << 30;
// Tags are 0..32767, the range that every MPI must offer.
inline constexpr int kTagLimit = 32768;

// A message that probe() has taken out of the queue; start_receive() must follow.
struct Arrival {
  int source = -1;
  size_t bytes = 0;
  uint64_t handle = 0;  // the port's
};

class MessagePort {
 public:
  virtual ~MessagePort() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view transport() const = 0;
  virtual const std::string& host(int rank) const = 0;

  // Prepares for `messages` transfers at once with up to max_bytes each.
  virtual absl::Status reserve(size_t max_bytes, int messages) = 0;
  // bytes.size() <= kMaxMessageBytes; the memory must stay unchanged until test() says true.
  virtual absl::StatusOr<RequestId> start_send(int peer, int tag,
                                               std::span<const std::byte> bytes) = 0;
  // The next message with this tag from any rank; false when none has arrived. Messages between two
  // ranks with equal tags arrive in the order of their sends.
  virtual absl::StatusOr<bool> probe(int tag, Arrival* arrival) = 0;
  // Sizes *into to the message; it holds the message once test() says true.
  virtual absl::StatusOr<RequestId> start_receive(const Arrival& arrival, ByteBuffer* into) = 0;
  virtual absl::StatusOr<bool> test(RequestId request) = 0;

  // Sleeps for at most this long; may return as soon as something arrives.
  virtual void wait(std::chrono::nanoseconds at_most) = 0;
  // Ends what is under way, without waiting for other ranks. True: the transport may still write to
  // receive memory, which then must never be freed.
  virtual bool abandon() = 0;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COLLECTIVES_MESSAGE_PORT_H_
