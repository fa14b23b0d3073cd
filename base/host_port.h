#ifndef CONCLAVE_BASE_HOST_PORT_H_
#define CONCLAVE_BASE_HOST_PORT_H_

#include <string>

namespace conclave {

// "127.0.0.1:8000"; an IPv6 address in brackets, "[::1]:8000".
inline std::string join_host_port(const std::string& host, int port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// "[::1]" -> "::1"; anything else as it is.
inline std::string without_brackets(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

}  // namespace conclave

#endif  // CONCLAVE_BASE_HOST_PORT_H_
