#include "comm/channel/stream_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>

#include "base/status_macros.h"

namespace conclave::comm {
namespace {

std::string errno_text(int error) { return std::generic_category().message(error); }

void set_option(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);
}

timespec time_left(const Deadline& deadline) {
  const int64_t ns = deadline.remaining().count();
  return timespec{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

// Waits until `fd` has one of `events`, or the deadline. Zero: deadline; negative: errno is set.
int poll_until(pollfd* fds, nfds_t count, const Deadline& deadline) {
  while (true) {
    const timespec timeout = time_left(deadline);
    const int ready = ppoll(fds, count, &timeout, nullptr);
    if (ready >= 0 || errno != EINTR) return ready;
  }
}

// A port from the kernel's own range may connect to itself while nobody listens on it.
bool is_connected_to_itself(int fd) {
  sockaddr_storage here{};
  sockaddr_storage there{};
  socklen_t here_bytes = sizeof here;
  socklen_t there_bytes = sizeof there;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&here), &here_bytes) == 0 &&
         getpeername(fd, reinterpret_cast<sockaddr*>(&there), &there_bytes) == 0 &&
         here_bytes == there_bytes && std::memcmp(&here, &there, here_bytes) == 0;
}

// The descriptor, or -1 with *error set.
int try_connect(const addrinfo& address, const Deadline& deadline, int* error) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) {
    *error = errno;
    return -1;
  }
  *error = ::connect(fd, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  if (*error == EINPROGRESS) {
    pollfd writable{fd, POLLOUT, 0};
    socklen_t bytes = sizeof *error;
    const int ready = poll_until(&writable, 1, deadline);
    if (ready == 0) {
      *error = ETIMEDOUT;
    } else if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, error, &bytes) != 0) {
      *error = errno;
    }
  }
  if (*error == 0 && is_connected_to_itself(fd)) *error = ECONNREFUSED;
  if (*error == 0) return fd;
  ::close(fd);
  return -1;
}

struct AddressListDeleter {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using AddressList = std::unique_ptr<addrinfo, AddressListDeleter>;

absl::StatusOr<AddressList> resolve(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (code != 0) {
    return absl::NotFoundError("host '" + host + "' has no address: " + gai_strerror(code));
  }
  return AddressList(list);
}

}  // namespace

void set_channel_socket_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

std::string deadline_text(const Deadline& deadline) {
  const double age_seconds = deadline.age_seconds();
  const std::chrono::duration<double> left = deadline.time() - SteadyClock::now();
  char text[80];
  std::snprintf(text, sizeof text, "after %.3f s (deadline %.3f s)", age_seconds,
                age_seconds + left.count());
  return text;
}

absl::StatusOr<StreamSocket> StreamSocket::connect(const std::string& host, uint16_t port,
                                                   const Deadline& deadline) {
  ASSIGN_OR_RETURN(const AddressList addresses, resolve(host, port));
  std::chrono::nanoseconds pause = std::chrono::milliseconds(5);
  while (true) {
    int error = 0;
    for (const addrinfo* it = addresses.get(); it != nullptr; it = it->ai_next) {
      const int fd = try_connect(*it, deadline, &error);
      if (fd < 0) continue;
      const int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
      if (wake_fd < 0) {
        ::close(fd);
        return absl::ResourceExhaustedError("cannot make an event descriptor: " +
                                            errno_text(errno));
      }
      set_channel_socket_options(fd);
      return StreamSocket(fd, wake_fd);
    }
    if (deadline.expired()) {
      return absl::DeadlineExceededError("no connection to " + host + ":" + std::to_string(port) +
                                         " (" + errno_text(error) + ") " + deadline_text(deadline));
    }
    poll_until(nullptr, 0, Deadline::after(std::min(pause, deadline.remaining())));
    pause = std::min<std::chrono::nanoseconds>(2 * pause, std::chrono::milliseconds(250));
  }
}

StreamSocket::~StreamSocket() {
  if (fd_ >= 0) ::close(fd_);
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

absl::Status StreamSocket::wait_for(short events, const Deadline& deadline) {
  pollfd fds[2] = {{fd_, events, 0}, {wake_fd_, POLLIN, 0}};
  const int ready = poll_until(fds, 2, deadline);
  if (ready < 0) return absl::InternalError("poll failed: " + errno_text(errno));
  if (fds[1].revents != 0) return absl::CancelledError("interrupted");
  if (ready == 0) return absl::DeadlineExceededError("deadline");
  return absl::OkStatus();
}

absl::StatusOr<size_t> StreamSocket::read_some(std::span<std::byte> into,
                                               const Deadline& deadline) {
  while (true) {
    const ssize_t got = recv(fd_, into.data(), into.size(), 0);
    if (got > 0) return static_cast<size_t>(got);
    if (got == 0) return absl::UnavailableError("the peer closed the connection");
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      return absl::UnavailableError("the connection broke: " + errno_text(errno));
    }
    RETURN_IF_ERROR(wait_for(POLLIN, deadline));
  }
}

absl::Status StreamSocket::write_all(std::span<const std::byte> head,
                                     std::span<const std::byte> body, const Deadline& deadline,
                                     size_t* written) {
  *written = 0;
  while (!head.empty() || !body.empty()) {
    iovec pieces[2] = {{const_cast<std::byte*>(head.data()), head.size()},
                       {const_cast<std::byte*>(body.data()), body.size()}};
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = 2;
    const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        return absl::UnavailableError("the connection broke: " + errno_text(errno));
      }
      RETURN_IF_ERROR(wait_for(POLLOUT, deadline));
      continue;
    }
    const auto bytes = static_cast<size_t>(sent);
    *written += bytes;
    const size_t of_head = std::min(bytes, head.size());
    head = head.subspan(of_head);
    body = body.subspan(bytes - of_head);
  }
  return absl::OkStatus();
}

void StreamSocket::interrupt() {
  shutdown(fd_, SHUT_RDWR);
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
}

}  // namespace conclave::comm
