#ifndef CONCLAVE_COMM_CHANNEL_STREAM_SOCKET_H_
#define CONCLAVE_COMM_CHANNEL_STREAM_SOCKET_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/deadline.h"

namespace conclave::comm {

// No delay for small messages; a peer whose machine vanished is noticed within half a minute.
void set_channel_socket_options(int fd);

// "after 2.003 s (deadline 2.000 s)"
std::string deadline_text(const Deadline& deadline);

// A connected TCP socket for blocking use with deadlines. One thread may read while another writes;
// interrupt() may come from any thread.
class StreamSocket {
 public:
  // Tries again while nobody listens, until the deadline.
  static absl::StatusOr<StreamSocket> connect(const std::string& host, uint16_t port,
                                              const Deadline& deadline);
  StreamSocket(StreamSocket&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), wake_fd_(std::exchange(other.wake_fd_, -1)) {}
  StreamSocket& operator=(StreamSocket&&) = delete;
  ~StreamSocket();

  // At least one byte. DEADLINE_EXCEEDED, UNAVAILABLE (the peer is gone), CANCELLED (interrupted).
  absl::StatusOr<size_t> read_some(std::span<std::byte> into, const Deadline& deadline);
  // *written counts what went out, also on failure.
  absl::Status write_all(std::span<const std::byte> head, std::span<const std::byte> body,
                         const Deadline& deadline, size_t* written);
  // Ends the connection and every call that waits on it, now and later.
  void interrupt();

 private:
  StreamSocket(int fd, int wake_fd) : fd_(fd), wake_fd_(wake_fd) {}
  absl::Status wait_for(short events, const Deadline& deadline);
  int fd_;
  int wake_fd_;  // readable once interrupted
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_STREAM_SOCKET_H_
