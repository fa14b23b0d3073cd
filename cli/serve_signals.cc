#include "cli/serve_signals.h"

#include <ctime>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace conclave::cli {

absl::StatusOr<coordinator::ApiKeys> KeyFiles::open(const std::string& path) {
  ASSIGN_OR_RETURN(coordinator::ApiKeys keys, coordinator::ApiKeys::from_file(path));
  files_.push_back({path, keys});
  return keys;
}

void KeyFiles::reload() {
  for (File& file : files_) {
    std::error_code error;
    // A pipe was read out when we started, and would be waited for now.
    auto keys = std::filesystem::is_regular_file(file.path, error)
                    ? coordinator::ApiKeys::from_file(file.path)
                    : absl::NotFoundError(file.path + ": is no file any more");
    if (!keys.ok()) {
      log_error("the keys were not read again; those in force stay",
                {{"file", file.path}, {"why", std::string(keys.status().message())}});
      continue;
    }
    file.keys.adopt(*keys);
    log_info("read the keys again", {{"file", file.path}, {"keys", absl::StrCat(keys->size())}});
  }
}

ServeSignals::ServeSignals() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGHUP}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

int ServeSignals::wait(int milliseconds) const {
  const timespec time{milliseconds / 1000, (milliseconds % 1000) * 1000000L};
  const int signal = sigtimedwait(&signals_, nullptr, &time);
  if (signal != SIGHUP) return signal > 0 ? signal : 0;
  if (reload_) reload_();
  return 0;
}

}  // namespace conclave::cli
