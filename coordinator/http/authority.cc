#include "coordinator/http/authority.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace conclave::coordinator {
namespace {

constexpr size_t kLongestHost = 255;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_host_character(char c, bool ipv6) {
  const char l = lower(c);
  if ((l >= '0' && l <= '9') || (l >= 'a' && l <= 'z') || l == '.') return true;
  return ipv6 ? l == ':' : l == '-' || l == '_';
}

std::optional<uint16_t> parse_port(std::string_view digits) {
  uint16_t port = 0;
  const auto end = digits.data() + digits.size();
  const auto result = std::from_chars(digits.data(), end, port);
  if (digits.empty() || result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return port;
}

bool is_loopback_ipv4(const std::string& host) {
  in_addr address{};
  return ::inet_pton(AF_INET, host.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool is_loopback_ipv6(const std::string& host) {
  in6_addr address{};
  if (::inet_pton(AF_INET6, host.c_str(), &address) != 1) return false;
  if (IN6_IS_ADDR_V4MAPPED(&address)) return address.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&address);
}

}  // namespace

std::optional<Authority> parse_authority(std::string_view text) {
  Authority authority;
  authority.ipv6 = text.starts_with('[');
  size_t end = text.find(authority.ipv6 ? ']' : ':');
  if (authority.ipv6 && end == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, end);
  if (authority.ipv6) {
    host.remove_prefix(1);
    ++end;
  }
  const std::string_view rest = end < text.size() ? text.substr(end) : std::string_view();
  if (!rest.empty()) {
    if (rest.front() != ':') return std::nullopt;
    authority.port = parse_port(rest.substr(1));
    if (!authority.port) return std::nullopt;
  }
  const bool valid = std::all_of(host.begin(), host.end(),
                                 [&](char c) { return is_host_character(c, authority.ipv6); });
  if (host.empty() || host.size() > kLongestHost || !valid) return std::nullopt;
  std::transform(host.begin(), host.end(), std::back_inserter(authority.host), lower);
  return authority;
}

bool is_loopback(const Authority& authority) {
  if (authority.ipv6) return is_loopback_ipv6(authority.host);
  return authority.host == "localhost" || is_loopback_ipv4(authority.host);
}

bool is_loopback_authority(std::string_view text) {
  const auto authority = parse_authority(text);
  return authority && is_loopback(*authority);
}

bool is_loopback_address(std::string_view address) {
  if (address.starts_with("unix:")) return true;
  const bool bare_ipv6 = address.find(':') != std::string_view::npos && !address.starts_with('[');
  const std::string text(address);
  return bare_ipv6 ? is_loopback_ipv6(text) : is_loopback_authority(text);
}

}  // namespace conclave::coordinator
