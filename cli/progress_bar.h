#ifndef CONCLAVE_CLI_PROGRESS_BAR_H_
#define CONCLAVE_CLI_PROGRESS_BAR_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace conclave::cli {

// One line on stderr: what, how far, how long, at which rate. On a terminal the line is redrawn; elsewhere a
// line is written at each tenth. Used by one thread.
class ProgressBar {
 public:
  ProgressBar(std::string what, bool enabled);
  ~ProgressBar();
  // bytes: done and total are bytes and shown as such.
  void update(uint64_t done, uint64_t total, bool bytes = false);
  void finish();

 private:
  std::string what_;
  bool enabled_;
  bool terminal_;
  bool drawn_ = false;
  int last_tenth_ = -1;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_draw_;
};

// "1.5 GiB"
std::string format_bytes(uint64_t bytes);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_PROGRESS_BAR_H_
