#ifndef CONCLAVE_WORKER_OVERLAP_MODEL_H_
#define CONCLAVE_WORKER_OVERLAP_MODEL_H_

// Decides, layer by layer, whether computing local expert rows while remote rows travel pays: the
// exchange is hidden, but an expert with both local and remote rows is read from memory twice. The answer
// never changes a bit of the result, so every rank may decide by its own clock.

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::worker {

enum class OverlapMode : uint8_t { kOn, kOff, kAuto };
// "on", "off" or "auto"; INVALID_ARGUMENT for anything else.
absl::StatusOr<OverlapMode> parse_overlap_mode(std::string_view text);

class OverlapModel {
 public:
  struct Rates {
    double bytes_per_second = 8e9;   // reading weights
    double flops_per_second = 40e9;  // multiplying
    double exchange_seconds = 50e-6;  // begin of a dispatch to its arrival
  };
  struct ExpertShape {
    double weight_bytes = 0;
    double flops_per_row = 0;
  };
  OverlapModel(OverlapMode mode, const ExpertShape& shape, const Rates& rates)
      : mode_(mode), shape_(shape), rates_(rates) {}

  // Time of one expert over `rows` rows: reading its weights or multiplying, whichever is longer.
  double expert_seconds(double rows) const;
  // local_rows[i]: rows of this rank for its i-th expert in use (each > 0); remote_rows: how many rows
  // one expert may expect from the other ranks together.
  bool overlap_pays(std::span<const int32_t> local_rows, double remote_rows) const;

  // Moving averages of what was measured.
  void observe_exchange(double seconds);
  void observe_experts(double predicted_seconds, double seconds);

  OverlapMode mode() const { return mode_; }
  const Rates& rates() const { return rates_; }

 private:
  OverlapMode mode_;
  ExpertShape shape_;
  Rates rates_;
  double slowdown_ = 1;  // measured over predicted time of expert calls
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_OVERLAP_MODEL_H_
