#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_BUDGET_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_BUDGET_H_

#include <time.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "base/status_macros.h"

namespace conclave::coordinator::jinja {

// CPU time of the calling thread.
inline int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What one render may use. A hostile or broken template ends with an error, not with the process.
struct RenderLimits {
  size_t value_bytes = size_t{32} << 20;   // output, and any one string or list
  size_t work_bytes = size_t{1} << 30;     // everything created, summed, freed or not
  size_t steps = 50'000'000;               // nodes evaluated and elements compared
  size_t loop_iterations = 1'000'000;
  int depth = 900;                         // nested evaluations; bounds the native stack
  int64_t cpu_ns = 5'000'000'000;  // of the rendering thread: a loaded machine takes no longer
  int64_t (*cpu_clock_ns)() = thread_cpu_ns;
};

// Containers nested deeper than this are refused: it bounds every recursion over values.
inline constexpr int kMaxValueDepth = 150;
// Expression and statement nesting accepted by the parser.
inline constexpr int kMaxSyntaxDepth = 150;

// Counts one render's use down. Not thread-safe: one per render.
class Budget {
 public:
  explicit Budget(const RenderLimits& limits)
      : limits_(limits),
        work_left_(limits.work_bytes),
        steps_left_(limits.steps),
        iterations_left_(limits.loop_iterations),
        cpu_end_ns_(limits.cpu_clock_ns() + limits.cpu_ns) {}

  const RenderLimits& limits() const { return limits_; }

  // Before or after creating a value of this size.
  absl::Status charge_bytes(size_t bytes) {
    RETURN_IF_ERROR(check_size(bytes));
    if (bytes > work_left_) return exhausted("it creates too much data");
    work_left_ -= bytes;
    return spend(bytes / kBytesPerStep);
  }
  // Of a text that grows piece by piece, each piece charged already.
  absl::Status check_size(size_t bytes) const {
    if (bytes > limits_.value_bytes) return exhausted("a value or the output grows too large");
    return absl::OkStatus();
  }
  absl::Status charge_steps(size_t steps) {
    if (steps > steps_left_) return exhausted("it runs too long");
    steps_left_ -= steps;
    return spend(steps);
  }
  // Before looking for (or through) `needle` bytes in `haystack` bytes, at the naive algorithm's worst.
  absl::Status charge_search(size_t haystack, size_t needle) {
    return charge_steps(1 + haystack / kBytesPerStep * (needle / kBytesPerStep + 1));
  }
  absl::Status charge_iteration() {
    if (iterations_left_ == 0) return exhausted("its loops run too often");
    --iterations_left_;
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kBytesPerStep = 64;
  static constexpr size_t kStepsPerLook = 1
                                          << 14;  // at the clock: some milliseconds at the slowest
  absl::Status spend(size_t steps) {
    since_look_ += steps + 1;
    if (since_look_ < kStepsPerLook) return absl::OkStatus();
    since_look_ = 0;
    return limits_.cpu_clock_ns() < cpu_end_ns_ ? absl::OkStatus()
                                                : exhausted("it takes too much CPU time");
  }
  static absl::Status exhausted(const char* what) { return absl::ResourceExhaustedError(what); }
  const RenderLimits limits_;
  size_t work_left_;
  size_t steps_left_;
  size_t iterations_left_;
  size_t since_look_ = 0;
  const int64_t cpu_end_ns_;
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_BUDGET_H_
