#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_BUDGET_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_BUDGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "base/status_macros.h"

namespace conclave::coordinator::jinja {

// What one render may use. A hostile or broken template ends with an error, not with the process.
struct RenderLimits {
  size_t value_bytes = size_t{32} << 20;   // output, and any one string or list
  size_t work_bytes = size_t{4} << 30;     // everything created, summed, freed or not
  size_t steps = 50'000'000;               // nodes evaluated and elements compared
  size_t loop_iterations = 1'000'000;
  int depth = 900;                         // nested evaluations; bounds the native stack
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
        iterations_left_(limits.loop_iterations) {}

  const RenderLimits& limits() const { return limits_; }

  // Before or after creating a value of this size.
  absl::Status charge_bytes(size_t bytes) {
    RETURN_IF_ERROR(check_size(bytes));
    if (bytes > work_left_) return exhausted("it creates too much data");
    work_left_ -= bytes;
    return absl::OkStatus();
  }
  // Of a text that grows piece by piece, each piece charged already.
  absl::Status check_size(size_t bytes) const {
    if (bytes > limits_.value_bytes) return exhausted("a value or the output grows too large");
    return absl::OkStatus();
  }
  absl::Status charge_steps(size_t steps) {
    if (steps > steps_left_) return exhausted("it runs too long");
    steps_left_ -= steps;
    return absl::OkStatus();
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
  static absl::Status exhausted(const char* what) { return absl::InvalidArgumentError(what); }
  const RenderLimits limits_;
  size_t work_left_;
  size_t steps_left_;
  size_t iterations_left_;
};

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_BUDGET_H_
