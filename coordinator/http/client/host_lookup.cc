#include "coordinator/http/client/host_lookup.h"

#include <netdb.h>
#include <sys/socket.h>

#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace conclave::coordinator {

absl::StatusOr<std::string> resolve_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  char text[NI_MAXHOST];
  const bool found = ::getaddrinfo(host.c_str(), nullptr, &hints, &list) == 0 && list != nullptr &&
                     ::getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0;
  if (list != nullptr) ::freeaddrinfo(list);
  if (!found) return absl::InvalidArgumentError(absl::StrCat(host, ": no such host"));
  return std::string(text);
}

void look_up_host(HostResolver resolver, std::string host, std::function<void(absl::StatusOr<std::string>)> done) {
  std::thread([resolver = std::move(resolver), host = std::move(host), done = std::move(done)] { done(resolver(host)); }).detach();
}

}  // namespace conclave::coordinator
