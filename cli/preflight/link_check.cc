#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <map>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/deadline.h"
#include "base/file.h"
#include "cli/preflight/node_checks.h"

namespace conclave::cli {
namespace {

constexpr size_t kTransferBytes = size_t{16} << 20;
constexpr int kPollMs = 50;

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

bool parse_address(const std::string& ip, uint16_t port, sockaddr_in* out) {
  *out = {};
  out->sin_family = AF_INET;
  out->sin_port = htons(port);
  return ::inet_pton(AF_INET, ip.c_str(), &out->sin_addr) == 1;
}

// Connecting a datagram socket sends nothing, but chooses the interface.
std::string local_address_towards(const std::string& ip) {
  sockaddr_in target, local{};
  if (!parse_address(ip, 9, &target)) return "";
  const Socket probe(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  socklen_t length = sizeof local;
  if (!probe.valid() ||
      ::connect(probe.get(), reinterpret_cast<sockaddr*>(&target), sizeof target) != 0 ||
      ::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&local), &length) != 0) {
    return "";
  }
  char text[INET_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET, &local.sin_addr, text, sizeof text);
  return text;
}

int milliseconds_left(const Deadline& deadline) {
  using std::chrono::milliseconds;
  return static_cast<int>(std::chrono::duration_cast<milliseconds>(deadline.remaining()).count());
}

bool wait_for(int fd, short events, const Deadline& deadline) {
  pollfd entry{fd, events, 0};
  return ::poll(&entry, 1, milliseconds_left(deadline)) > 0;
}

// Reads whatever comes until the other side ends, then answers one byte: the sender's clock then
// covers the whole way.
void swallow(Socket connection, int timeout_ms) {
  std::vector<char> buffer(size_t{1} << 20);
  const Deadline deadline = Deadline::after_ms(timeout_ms);
  while (wait_for(connection.get(), POLLIN, deadline)) {
    const ssize_t got = ::recv(connection.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) continue;
    if (got > 0) continue;
    if (got == 0) (void)::send(connection.get(), "k", 1, MSG_NOSIGNAL);
    return;
  }
}

// This node's listener with its thread.
class Listener {
 public:
  Listener(const std::string& ip, int timeout_ms)
      : timeout_ms_(timeout_ms),
        socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address;
    socklen_t length = sizeof address;
    if (!socket_.valid() || !parse_address(ip, 0, &address) ||
        ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(socket_.get(), 128) != 0 ||
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      return;
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { accept_all(); });
  }
  ~Listener() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    for (std::thread& thread : connections_) thread.join();
  }
  uint16_t port() const { return port_; }  // 0: cannot listen

 private:
  void accept_all() {
    while (!stop_) {
      pollfd entry{socket_.get(), POLLIN, 0};
      ::poll(&entry, 1, kPollMs);
      Socket connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection.valid())
        connections_.emplace_back(
            [c = std::move(connection), t = timeout_ms_]() mutable { swallow(std::move(c), t); });
    }
  }
  const int timeout_ms_;
  Socket socket_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> connections_;
  std::thread thread_;
};

// Sends `bytes` and waits for the receiver's word. Seconds, or a negative number.
double transfer(const sockaddr_in& to, size_t bytes, int timeout_ms) {
  const Deadline deadline = Deadline::after_ms(timeout_ms);
  const Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS)
    return -1;
  int error = 0;
  socklen_t length = sizeof error;
  if (!wait_for(socket.get(), POLLOUT, deadline) ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0)
    return -1;
  const std::vector<char> zeros(size_t{1} << 20);
  for (size_t sent = 0; sent < bytes;) {
    if (!wait_for(socket.get(), POLLOUT, deadline)) return -1;
    const ssize_t got =
        ::send(socket.get(), zeros.data(), std::min(zeros.size(), bytes - sent), MSG_NOSIGNAL);
    if (got < 0 && errno != EAGAIN) return -1;
    sent += got > 0 ? static_cast<size_t>(got) : 0;
  }
  ::shutdown(socket.get(), SHUT_WR);
  char word = 0;
  if (!wait_for(socket.get(), POLLIN, deadline) || ::recv(socket.get(), &word, 1, 0) != 1)
    return -1;
  return deadline.age_seconds();
}

std::string file_of(const LinkOptions& o, const std::string& node, const char* what) {
  return absl::StrCat(o.folder, "/", node, ".", what);
}

// Nodes that have written a file ending in `.what`, with its content.
std::map<std::string, std::string> files_of_nodes(const LinkOptions& o, const char* what) {
  std::map<std::string, std::string> found;
  std::error_code error;
  const std::string extension = absl::StrCat(".", what);
  for (const auto& entry : std::filesystem::directory_iterator(o.folder, error)) {
    if (entry.path().extension() != extension) continue;
    const auto text = read_file(entry.path().string(), 4096);
    if (text.ok()) found[entry.path().stem().string()] = *text;
  }
  return found;
}

std::map<std::string, std::string> wait_for_files(const LinkOptions& o, const char* what,
                                                  const Deadline& deadline) {
  std::map<std::string, std::string> found;
  do {
    found = files_of_nodes(o, what);
    if (found.size() >= static_cast<size_t>(o.nodes)) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  } while (!deadline.expired());
  return found;
}

// The node behind this one in the order of names: each link of the ring is measured once.
std::string next_node(const std::map<std::string, std::string>& nodes, const std::string& node) {
  auto next = nodes.upper_bound(node);
  if (next == nodes.end()) next = nodes.begin();
  return next->first;
}

}  // namespace

CheckResult check_links(const LinkOptions& o, std::vector<std::string>* unreachable) {
  if (o.nodes < 2) return {"links", true, "no other node"};
  const std::string ip = local_address_towards(o.coordinator_address);
  const Listener listener(ip, o.timeout_ms);
  if (listener.port() == 0) {
    return {"address", false,
            absl::StrCat("has no way to the coordinator's address ", o.coordinator_address,
                         "; give one that all nodes reach with --listen")};
  }
  const absl::Status written = write_file_atomically(file_of(o, o.node, "address"),
                                                     absl::StrCat(ip, " ", listener.port(), "\n"));
  if (!written.ok())
    return {"folder", false,
            absl::StrCat("cannot write to the job's folder: ", std::string(written.message()))};
  const auto peers = wait_for_files(o, "address", Deadline::after_ms(o.timeout_ms));
  const std::string neighbour = next_node(peers, o.node);
  const Deadline all = Deadline::after_ms(o.timeout_ms);
  double rate = 0;
  for (const auto& [node, text] : peers) {
    if (node == o.node) continue;
    std::istringstream in(text);
    std::string peer_ip;
    uint16_t port = 0;
    sockaddr_in address;
    in >> peer_ip >> port;
    const size_t bytes = node == neighbour ? kTransferBytes : 0;
    const int limit_ms = std::min(o.timeout_ms / 6, milliseconds_left(all));
    // Of many dead links the first few say enough.
    if (limit_ms == 0) break;
    const double seconds =
        parse_address(peer_ip, port, &address) ? transfer(address, bytes, limit_ms) : -1;
    if (seconds < 0) unreachable->push_back(node);
    if (seconds > 0 && bytes > 0) rate = static_cast<double>(bytes) / seconds / (1 << 20);
  }
  // The listener stays until the others have tried it.
  (void)write_file_atomically(file_of(o, o.node, "tried"), "");
  (void)wait_for_files(o, "tried", Deadline::after_ms(o.timeout_ms / 2));
  if (!unreachable->empty())
    return {"links", false,
            absl::StrCat("cannot reach ", unreachable->size(), " of ", o.nodes - 1, " nodes")};
  return {"links", true, absl::StrFormat("sends %.0f MiB/s to %s", rate, neighbour)};
}

}  // namespace conclave::cli
