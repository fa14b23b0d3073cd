#ifndef CONCLAVE_CLI_CONCLAVECTL_SESSION_H_
#define CONCLAVE_CLI_CONCLAVECTL_SESSION_H_

// What every verb of conclavectl shares: the connection to an admin listener and how to print.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/http/client/http_client.h"

namespace conclave::ctl {

using Json = nlohmann::ordered_json;

struct SessionOptions {
  std::string endpoint = "http://127.0.0.1:8001";
  std::string key_file;
  std::string output = "table";  // table, wide, json, yaml
  double timeout_seconds = 30;   // of one question to the server
};

// Exit codes beyond those of cli/exit_codes.h.
inline constexpr int kExitDenied = 5;       // the key is wrong or missing, or the verb is refused here
inline constexpr int kExitNotFound = 6;     // no such request, rank, plan
inline constexpr int kExitUnsupported = 7;  // the server does not know the verb
inline constexpr int kExitCondition = 8;    // reached the cluster, but it is not as asked: unhealthy, not drained
inline constexpr const char* kExitCodeTable =
    "Exit codes: 0 success; 1 failure while running; 2 wrong usage; 3 unusable file or value;\n"
    "4 the admin listener cannot be reached or did not answer in time; 5 the admin key is missing or\n"
    "wrong, or the verb is refused there; 6 no such request, rank or plan; 7 the server does not know\n"
    "the verb; 8 the cluster is not as asked (not healthy, not ready, not drained); 130 interrupted.";

// A name as one part of a path.
std::string encode_path(const std::string& name);
// Prints "conclavectl: <message>" on stderr; the exit code of that kind of error.
int report(const absl::Status& status);

class Session {
 public:
  explicit Session(const SessionOptions& options) : options_(options) {}

  // Answers of the admin API. UNAVAILABLE: nobody there; UNAUTHENTICATED: key; NOT_FOUND: no such
  // thing; UNIMPLEMENTED: the server lacks the verb; FAILED_PRECONDITION: 409.
  absl::StatusOr<Json> get(const std::string& path);
  absl::StatusOr<Json> post(const std::string& path, const Json& body);
  absl::StatusOr<Json> remove(const std::string& path);
  absl::StatusOr<std::string> text(const std::string& method, const std::string& path,
                                   const std::string& body = "");

  const SessionOptions& options() const { return options_; }
  bool wants_data() const { return options_.output == "json" || options_.output == "yaml"; }
  bool wide() const { return options_.output == "wide"; }

 private:
  absl::Status connect();
  absl::StatusOr<Json> ask(const std::string& method, const std::string& path,
                           const std::string& body);

  const SessionOptions& options_;
  std::unique_ptr<coordinator::HttpClient> client_;
};

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_SESSION_H_
