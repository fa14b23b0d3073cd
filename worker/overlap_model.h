#ifndef CONCLAVE_WORKER_OVERLAP_MODEL_H_
#define CONCLAVE_WORKER_OVERLAP_MODEL_H_

// Computing local expert rows while remote rows travel hides the exchange, but an expert with both
// local and remote rows then runs twice, reading its weights twice.
//   kOff   waits first, so each expert runs once.
//   kOn    computes all local rows first.
//   kAuto  waits for as long as it would cost to run an expert twice, then computes local experts
//          one after the other for as long as nothing has arrived; the rest runs together with the
//          remote rows. So it never loses more than the longer of one expert and its wait, and a
//          late peer is waited for at work.
// No bit of the result depends on it (law 1), so every rank may decide by its own clock.

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::worker {

enum class OverlapMode : uint8_t { kOn, kOff, kAuto };
// "on", "off" or "auto"; INVALID_ARGUMENT for anything else.
absl::StatusOr<OverlapMode> parse_overlap_mode(std::string_view text);

// How long expert calls take; tells how to cut them into pieces. Learns from what is observed.
class ExpertCostModel {
 public:
  struct Rates {
    double bytes_per_second = 8e9;   // reading weights
    double flops_per_second = 40e9;  // multiplying
  };
  struct ExpertShape {
    double weight_bytes = 0;
    double flops_per_row = 0;
  };
  ExpertCostModel(const ExpertShape& shape, const Rates& rates) : shape_(shape), rates_(rates) {}

  // Time of one expert over `rows` rows: reading its weights or multiplying, whichever is longer.
  double expert_seconds(double rows) const;
  // What two runs over `rows` rows each take longer than one over all: reading the weights again,
  // nothing where multiplying takes longer.
  double repeat_seconds(double rows) const;
  void observe_experts(double predicted_seconds, double seconds);

 private:
  ExpertShape shape_;
  Rates rates_;
  double slowdown_ = 1;  // measured over predicted time of expert calls
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_OVERLAP_MODEL_H_
