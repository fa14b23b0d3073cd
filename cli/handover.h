#ifndef CONCLAVE_CLI_HANDOVER_H_
#define CONCLAVE_CLI_HANDOVER_H_

// How a coordinator learns that another one takes over.

#include <optional>
#include <string>

#include "coordinator/http/client/http_client.h"

namespace conclave::cli {

// Does that server answer /ready with 200? Bounded to about two seconds.
bool answers_ready(const coordinator::HttpEndpoint& endpoint);

// Watches a file for the URL of a successor. Belongs to one thread.
class SuccessorFile {
 public:
  explicit SuccessorFile(std::string path) : path_(std::move(path)) {}
  // The successor, once the file names one and it is ready. Looks at the file each time, asks the
  // successor at most twice a second.
  std::optional<coordinator::HttpEndpoint> poll();

 private:
  const std::string path_;  // empty: there will be none
  std::string refused_;     // content that is no URL, said once
  int64_t next_ask_ns_ = 0;
};

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_HANDOVER_H_
