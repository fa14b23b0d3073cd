#ifndef CONCLAVE_COORDINATOR_HTTP_AUTHORITY_H_
#define CONCLAVE_COORDINATOR_HTTP_AUTHORITY_H_

// The HOST[:PORT] of a Host header, an Origin or an absolute target, and whether it is this
// machine.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace conclave::coordinator {

struct Authority {
  std::string host;              // in lower case; an IPv6 address without its brackets
  bool ipv6 = false;             // it stood in brackets
  std::optional<uint16_t> port;  // absent: the scheme's
};

// Nothing for what is no such text: a user, a path, blanks, a port beyond 65535.
std::optional<Authority> parse_authority(std::string_view text);

// "localhost", an address of 127.0.0.0/8 as four decimal numbers, or an IPv6 address, in any
// spelling, that is ::1 or maps one of those. No other name, whatever it begins with and whatever
// it resolves to: its owner decides that, and may change it between two requests.
bool is_loopback(const Authority& authority);
bool is_loopback_authority(std::string_view text);

// The same of an address to listen on: without a port, an IPv6 address with or without brackets.
// "unix:PATH" is as local as they are.
bool is_loopback_address(std::string_view address);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_AUTHORITY_H_
