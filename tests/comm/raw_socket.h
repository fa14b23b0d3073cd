#ifndef CONCLAVE_TESTS_COMM_RAW_SOCKET_H_
#define CONCLAVE_TESTS_COMM_RAW_SOCKET_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "comm/channel/handshake.h"
#include "comm/channel/tcp_channel.h"
#include "comm/channel/wire_frame.h"

namespace conclave::comm {

// A plain socket that speaks whatever the test wants.
class RawSocket {
 public:
  static RawSocket connect(uint16_t port) {
    RawSocket raw(socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in address = loopback(port);
    EXPECT_EQ(::connect(raw.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return raw;
  }
  // A port that refuses connections and that nobody but a listener can get meanwhile.
  static RawSocket reserve_port() {
    RawSocket raw(socket(AF_INET, SOCK_STREAM, 0));
    const int on = 1;
    EXPECT_EQ(setsockopt(raw.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    const sockaddr_in address = loopback(0);
    EXPECT_EQ(bind(raw.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return raw;
  }
  static RawSocket listen() {
    RawSocket raw(socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in address = loopback(0);
    EXPECT_EQ(bind(raw.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(raw.fd_, 8), 0);
    return raw;
  }
  RawSocket accept() const { return RawSocket(::accept(fd_, nullptr, nullptr)); }
  uint16_t port() const {
    sockaddr_in address{};
    socklen_t bytes = sizeof address;
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    return ntohs(address.sin_port);
  }
  explicit RawSocket(int fd) : fd_(fd) {}
  RawSocket(RawSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~RawSocket() {
    if (fd_ >= 0) ::close(fd_);
  }
  void write(std::span<const std::byte> bytes) const {
    EXPECT_EQ(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // The other side may close before all is written.
  void write_while_open(std::span<const std::byte> bytes) const {
    [[maybe_unused]] const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  // A whole frame; type 0 at the end of the stream or on garbage.
  Frame read_frame(FrameHeader* header = nullptr) const {
    FrameDecoder decoder(1u << 20);
    while (true) {
      const auto space = decoder.space();
      const ssize_t got = recv(fd_, space.data(), space.size(), 0);
      if (got <= 0) return {};
      const auto complete = decoder.commit(static_cast<size_t>(got));
      if (!complete.ok()) return {};
      if (!*complete) continue;
      if (header != nullptr) *header = decoder.header();
      return decoder.take();
    }
  }
  // Blocks until the other side closes.
  bool reads_end_of_stream() const {
    char byte = 0;
    return recv(fd_, &byte, 1, 0) <= 0;
  }
  void reset_connection() {
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(std::exchange(fd_, -1));
  }

 private:
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  int fd_;
};

inline std::vector<std::byte> frame_of(uint16_t type, std::span<const std::byte> payload,
                                       uint16_t version = kProtocolVersion) {
  return encode_frame({version, type, static_cast<uint32_t>(payload.size())}, payload);
}

inline bool mentions(const absl::Status& status, const std::string& text) {
  return std::string(status.message()).find(text) != std::string::npos;
}

}  // namespace conclave::comm

#endif  // CONCLAVE_TESTS_COMM_RAW_SOCKET_H_
