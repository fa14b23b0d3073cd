#include "coordinator/http/http_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "base/host_port.h"
#include "coordinator/http/socket_owner.h"

namespace conclave::coordinator {
namespace {

SocketEnd end_of(const sockaddr_storage& address) {
  SocketEnd end;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(end.address.data(), &v4.sin_addr, 4);
    end.port = ntohs(v4.sin_port);
    return end;
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  end.port = ntohs(v6.sin6_port);
  end.ipv6 = !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
  if (end.ipv6) {
    std::memcpy(end.address.data(), &v6.sin6_addr, 16);
  } else {
    std::memcpy(end.address.data(), v6.sin6_addr.s6_addr + 12, 4);
  }
  return end;
}

std::string text_of(const SocketEnd& end) {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(end.ipv6 ? AF_INET6 : AF_INET, end.address.data(), text, sizeof text);
  return join_host_port(text, end.port);
}

std::optional<uint32_t> unix_peer_uid(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return credentials.uid;
}

}  // namespace

HttpPeer identify_peer(int socket, bool find_uid) {
  HttpPeer peer;
  sockaddr_storage here{}, there{};
  socklen_t here_size = sizeof here, there_size = sizeof there;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&here), &here_size) != 0) return peer;
  if (here.ss_family == AF_UNIX) {
    peer.address = "unix";
    if (find_uid) peer.uid = unix_peer_uid(socket);
    return peer;
  }
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&there), &there_size) != 0) return peer;
  if (there.ss_family != AF_INET && there.ss_family != AF_INET6) return peer;
  const SocketEnd remote = end_of(there);
  peer.address = text_of(remote);
  if (find_uid) peer.uid = owner_of_socket(remote, end_of(here));
  return peer;
}

}  // namespace conclave::coordinator
