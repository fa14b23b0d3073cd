#ifndef CONCLAVE_WORKER_FAULT_INJECTION_H_
#define CONCLAVE_WORKER_FAULT_INJECTION_H_

// Faults on purpose, for tests of deadlines, restarts and error texts. The environment variable
// CONCLAVE_FAULT is read once when a rank starts, never inside a step:
//
//   KIND:key=value,...      KIND one of
//     hang   the rank stops for `seconds` (default 3600), inside the step
//     exit   the process ends at once with code 17, without a word
//     error  the step fails with an error on this rank
//     slow   every matching operation first waits `ms` (default 100)
//   rank=N     required: which rank
//   step=N     only this step (default: every step)
//   layer=N    before this layer (default: before the first)
//
// Example: CONCLAVE_FAULT=hang:rank=1,step=5,layer=3

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::worker {

struct FaultInjection {
  enum class Kind : uint8_t { kNone, kHang, kExit, kError, kSlow };
  Kind kind = Kind::kNone;
  int32_t rank = -1;
  int64_t step = -1;
  int32_t layer = 0;
  double seconds = 0;

  // Strikes when rank, step and layer match; returns an error for kError only.
  absl::Status strike(int32_t at_rank, int64_t at_step, int32_t at_layer) const {
    if (kind == Kind::kNone || at_rank != rank || at_layer != layer) return absl::OkStatus();
    if (step >= 0 && at_step != step) return absl::OkStatus();
    return strike_now();
  }

 private:
  absl::Status strike_now() const;
};

// INVALID_ARGUMENT says what is wrong with the text; empty text: no fault.
absl::StatusOr<FaultInjection> parse_fault(std::string_view text);
// CONCLAVE_FAULT of this process.
absl::StatusOr<FaultInjection> fault_from_environment();

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_FAULT_INJECTION_H_
