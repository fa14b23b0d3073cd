#include "cli/listen_errors.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace conclave::cli {
namespace {

std::string advice(const std::string& message, const ListenFlags& flags) {
  if (absl::StrContains(message, "ddress already in use")) {
    return absl::StrCat("another program, perhaps another cluster, listens there: give ", flags.port_flag,
                        " another number, or 0 for any free one");
  }
  if (absl::StrContains(message, "ermission denied")) {
    return absl::StrCat("this user may not listen there: give ", flags.port_flag, " a number above 1023");
  }
  return absl::StrCat(flags.host_flag, " must be an address of this host");
}

}  // namespace

absl::Status name_listen_flag(const absl::Status& status, const ListenFlags& flags) {
  const std::string message(status.message());
  if (status.ok() || !absl::StrContains(message, "isten on")) return status;
  if (!flags.socket_flag.empty() && absl::StrContains(message, "Unix socket")) {
    return absl::Status(status.code(), absl::StrCat(flags.socket_flag, ": ", message));
  }
  return absl::Status(status.code(),
                      absl::StrCat(flags.port_flag, " ", flags.port, ": ", message, "; ", advice(message, flags)));
}

}  // namespace conclave::cli
