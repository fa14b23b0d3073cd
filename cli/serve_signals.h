#ifndef CONCLAVE_CLI_SERVE_SIGNALS_H_
#define CONCLAVE_CLI_SERVE_SIGNALS_H_

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "coordinator/http/api_keys.h"

namespace conclave::cli {

// Files that SIGHUP reads again. Main thread.
class KeyFiles {
 public:
  // Reads the file now; afterwards reload() changes the keys of the returned handle.
  absl::StatusOr<coordinator::ApiKeys> open(const std::string& path);
  // A file that is missing or wrong leaves its keys in force, and the log says why.
  void reload();

 private:
  struct File {
    std::string path;
    coordinator::ApiKeys keys;
  };
  std::vector<File> files_;
};

// The signals of a coordinator, taken by the main thread: blocked from construction on, also in all
// threads that begin later.
class ServeSignals {
 public:
  ServeSignals();
  void on_hangup(std::function<void()> reload) { reload_ = std::move(reload); }
  // SIGINT, SIGTERM or SIGUSR1; 0 if none came within the time. A SIGHUP on the way reloads.
  int wait(int milliseconds) const;

 private:
  sigset_t signals_;
  std::function<void()> reload_;
};

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SERVE_SIGNALS_H_
