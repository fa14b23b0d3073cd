#include "coordinator/http/http_peer.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/http/socket_owner.h"

namespace conclave::coordinator {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

struct LoopbackPair {
  LoopbackPair()
      : listener(::socket(AF_INET, SOCK_STREAM, 0)), client(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener.get(), generic, size), 0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    EXPECT_EQ(::getsockname(listener.get(), generic, &size), 0);
    EXPECT_EQ(::connect(client.get(), generic, size), 0);
    server = std::make_unique<Descriptor>(::accept(listener.get(), nullptr, nullptr));
  }
  Descriptor listener, client;
  std::unique_ptr<Descriptor> server;
};

TEST(HttpPeer, TheKernelTellsWhoseALocalConnectionIs) {
  LoopbackPair pair;
  const HttpPeer peer = identify_peer(pair.server->get(), true);
  EXPECT_TRUE(peer.address.starts_with("127.0.0.1:")) << peer.address;
  EXPECT_EQ(peer.uid, ::geteuid());
  EXPECT_FALSE(identify_peer(pair.server->get(), false).uid.has_value());
}

// Whoever had them, such sockets are root's in the kernel's tables.
TEST(HttpPeer, AClosedOrHalfClosedEndIsNobodys) {
  LoopbackPair half, closed;
  ::shutdown(half.client.get(), SHUT_WR);
  EXPECT_FALSE(identify_peer(half.server->get(), true).uid.has_value());
  closed.client.close();
  EXPECT_FALSE(identify_peer(closed.server->get(), true).uid.has_value());
}

TEST(HttpPeer, UnixSocketsTellTheirPeer) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Descriptor one(ends[0]), other(ends[1]);
  const HttpPeer peer = identify_peer(one.get(), true);
  EXPECT_EQ(peer.address, "unix");
  EXPECT_EQ(peer.uid, ::geteuid());
}

constexpr const char* kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode\n"
    "   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 11 "
    "1 0\n"
    "   1: 0100007F:C350 0100007F:1F41 01 00000000:00000000 00:00000000 00000000  1000        0 12 "
    "1 0\n"
    "   2: 0100007F:C351 0100007F:1F41 06 00000000:00000000 03:00001770 00000000     0        0 0 "
    "3 0\n"
    "   3: 0100007F:C352 0100007F:1F41 05 00000000:00000000 00:00000000 00000000     0        0 0 "
    "3 0\n"
    "   4: 0000000000000000FFFF00000100007F:C353 0000000000000000FFFF00000100007F:1F41 01 "
    "00000000:00000000 00:00000000 00000000  1001        0 13 1 0\n"
    "   5: 00000000000000000000000001000000:C354 00000000000000000000000001000000:1F41 01 "
    "00000000:00000000 00:00000000 00000000  1002        0 14 1 0\n"
    "   6: nonsense\n";

SocketEnd v4(uint16_t port) {
  SocketEnd end;
  end.address = {127, 0, 0, 1};
  end.port = port;
  return end;
}

SocketEnd v6(uint16_t port) {
  SocketEnd end;
  end.ipv6 = true;
  end.address[15] = 1;
  end.port = port;
  return end;
}

TEST(SocketOwner, ReadsTheTableOfProc) {
  EXPECT_EQ(owner_in_table(kTable, v4(0xC350), v4(0x1F41)), 1000u);
  EXPECT_EQ(owner_in_table(kTable, v4(0xC353), v4(0x1F41)), 1001u) << "an IPv6 socket, mapped";
  EXPECT_EQ(owner_in_table(kTable, v6(0xC354), v6(0x1F41)), 1002u);
  EXPECT_FALSE(owner_in_table(kTable, v4(0xC351), v4(0x1F41)).has_value()) << "TIME_WAIT";
  EXPECT_FALSE(owner_in_table(kTable, v4(0xC352), v4(0x1F41)).has_value()) << "FIN_WAIT2";
  EXPECT_FALSE(owner_in_table(kTable, v4(0x1F41), v4(0xC350)).has_value()) << "the other way round";
  EXPECT_FALSE(owner_in_table(kTable, v4(0xC350), v4(0x1F42)).has_value());
  EXPECT_FALSE(owner_in_table("", v4(1), v4(2)).has_value());
}

}  // namespace
}  // namespace conclave::coordinator
