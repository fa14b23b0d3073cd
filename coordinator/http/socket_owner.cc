#include "coordinator/http/socket_owner.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

#include "base/file.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kLargestTable = size_t{64} << 20;

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 request;
};

Question make_question(const SocketEnd& local, const SocketEnd& remote) {
  Question question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  inet_diag_req_v2& request = question.request;
  request.sdiag_family = local.ipv6 ? AF_INET6 : AF_INET;
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = 1u << TCP_ESTABLISHED;
  request.id.idiag_sport = htons(local.port);
  request.id.idiag_dport = htons(remote.port);
  std::memcpy(request.id.idiag_src, local.address.data(), sizeof request.id.idiag_src);
  std::memcpy(request.id.idiag_dst, remote.address.data(), sizeof request.id.idiag_dst);
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return question;
}

enum class Answered { kNo, kNone, kFound };

// The kernel falls back on a listener when no connection fits, hence the look at the ports.
Answered read_answer(const char* bytes, ssize_t size, const Question& question, uint32_t* uid) {
  nlmsghdr header;
  if (size < static_cast<ssize_t>(sizeof header)) return Answered::kNo;
  std::memcpy(&header, bytes, sizeof header);
  if (header.nlmsg_type == NLMSG_ERROR) {
    nlmsgerr error;
    if (size < static_cast<ssize_t>(NLMSG_HDRLEN + sizeof error)) return Answered::kNo;
    std::memcpy(&error, bytes + NLMSG_HDRLEN, sizeof error);
    return error.error == -ENOENT ? Answered::kNone : Answered::kNo;
  }
  inet_diag_msg found;
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
      size < static_cast<ssize_t>(NLMSG_HDRLEN + sizeof found))
    return Answered::kNo;
  std::memcpy(&found, bytes + NLMSG_HDRLEN, sizeof found);
  if (found.idiag_state != TCP_ESTABLISHED ||
      found.id.idiag_sport != question.request.id.idiag_sport ||
      found.id.idiag_dport != question.request.id.idiag_dport)
    return Answered::kNone;
  *uid = found.idiag_uid;
  return Answered::kFound;
}

Answered ask_kernel(const SocketEnd& local, const SocketEnd& remote, uint32_t* uid) {
  const Descriptor netlink{
      ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG)};
  if (netlink.fd < 0) return Answered::kNo;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const Question question = make_question(local, remote);
  if (::sendto(netlink.fd, &question, sizeof question, 0,
               reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0)
    return Answered::kNo;
  // The answer is there when sendto returns: the kernel makes it in the same call.
  char bytes[4096];
  sockaddr_nl sender{};
  socklen_t size = sizeof sender;
  const ssize_t got =
      ::recvfrom(netlink.fd, bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&sender), &size);
  if (got < 0 || sender.nl_pid != 0) return Answered::kNo;
  return read_answer(bytes, got, question, uid);
}

// ADDRESS:PORT in hex; the address as 32-bit words in this machine's order.
std::optional<SocketEnd> parse_end(std::string_view text) {
  const size_t colon = text.find(':');
  if ((colon != 8 && colon != 32) || text.size() != colon + 5) return std::nullopt;
  SocketEnd end;
  for (size_t word = 0; word * 8 < colon; ++word) {
    uint32_t value = 0;
    const char* begin = text.data() + word * 8;
    if (std::from_chars(begin, begin + 8, value, 16).ptr != begin + 8) return std::nullopt;
    std::memcpy(end.address.data() + word * 4, &value, 4);
  }
  const char* port = text.data() + colon + 1;
  if (std::from_chars(port, port + 4, end.port, 16).ptr != port + 4) return std::nullopt;
  constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  end.ipv6 = colon == 32 && std::memcmp(end.address.data(), kMapped, sizeof kMapped) != 0;
  if (colon == 32 && !end.ipv6) {
    std::memmove(end.address.data(), end.address.data() + 12, 4);
    std::fill(end.address.begin() + 4, end.address.end(), uint8_t{0});
  }
  return end;
}

std::string_view take_word(std::string_view* line) {
  const size_t begin = std::min(line->find_first_not_of(' '), line->size());
  const size_t end = std::min(line->find(' ', begin), line->size());
  const std::string_view word = line->substr(begin, end - begin);
  line->remove_prefix(end);
  return word;
}

std::optional<uint32_t> owner_in_line(std::string_view line, const SocketEnd& local,
                                      const SocketEnd& remote) {
  take_word(&line);  // its number
  if (parse_end(take_word(&line)) != local || parse_end(take_word(&line)) != remote)
    return std::nullopt;
  if (take_word(&line) != "01") return std::nullopt;  // TCP_ESTABLISHED
  for (const char* skipped : {"queues", "timer", "retransmits"}) {
    static_cast<void>(skipped);
    take_word(&line);
  }
  const std::string_view word = take_word(&line);
  uint32_t uid = 0;
  const auto result = std::from_chars(word.data(), word.data() + word.size(), uid);
  if (word.empty() || result.ec != std::errc() || result.ptr != word.data() + word.size())
    return std::nullopt;
  return uid;
}

}  // namespace

std::optional<uint32_t> owner_in_table(std::string_view table, const SocketEnd& local,
                                       const SocketEnd& remote) {
  while (!table.empty()) {
    const size_t end = std::min(table.find('\n'), table.size());
    if (const auto uid = owner_in_line(table.substr(0, end), local, remote)) return uid;
    table.remove_prefix(std::min(end + 1, table.size()));
  }
  return std::nullopt;
}

std::optional<uint32_t> owner_of_socket(const SocketEnd& local, const SocketEnd& remote) {
  uint32_t uid = 0;
  const Answered answered = ask_kernel(local, remote, &uid);
  if (answered == Answered::kFound) return uid;
  if (answered == Answered::kNone) return std::nullopt;
  // A client's IPv6 socket may have reached an IPv4 address, so both tables may list it.
  for (const char* path : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
    const auto table = read_file(path, kLargestTable);
    if (!table.ok()) continue;
    if (const auto owner = owner_in_table(*table, local, remote)) return owner;
  }
  return std::nullopt;
}

}  // namespace conclave::coordinator
