#ifndef CONCLAVE_CLI_LISTEN_ERRORS_H_
#define CONCLAVE_CLI_LISTEN_ERRORS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace conclave::cli {

// The flags that say where a listener listens.
struct ListenFlags {
  std::string host_flag, port_flag;  // "--host", "--port"
  int32_t port = 0;
  std::string socket_flag;  // "" if the listener has no Unix socket
};

// An error of a listener's start with the flag that it is about, and what to do with it. Other errors, and OK, stay as
// they are.
absl::Status name_listen_flag(const absl::Status& status, const ListenFlags& flags);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_LISTEN_ERRORS_H_
