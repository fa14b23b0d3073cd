#ifndef CONCLAVE_WORKER_OVERLAP_MODEL_H_
#define CONCLAVE_WORKER_OVERLAP_MODEL_H_

// Decides, layer by layer, whether computing local expert rows while remote rows travel pays: the
// exchange is hidden, but an expert with both local and remote rows is run twice, with fewer rows
// each time. What that costs depends on caches, cores and kernels, so it is measured in place: both
// ways are tried now and then, and the cheaper one is kept. The answer never changes a bit of the
// result, so every rank may decide by its own clock. Used by the step thread alone.

#include <array>
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
  void observe_experts(double predicted_seconds, double seconds);

 private:
  ExpertShape shape_;
  Rates rates_;
  double slowdown_ = 1;  // measured over predicted time of expert calls
};

// Keeps, for each size of a layer's work, the measured time with and without overlap.
class OverlapChooser {
 public:
  explicit OverlapChooser(OverlapMode mode) : mode_(mode) {}

  // Whether the layer that begins now shall overlap. local_rows: expert rows it can compute at
  // once.
  bool choose(int64_t local_rows);
  // Seconds of the layer of the last choose(): from the begin of its dispatch until all expert
  // rows, local and remote, are computed.
  void observe(double seconds);

  OverlapMode mode() const { return mode_; }

 private:
  struct Way {
    double seconds = 0;  // moving average
    int64_t samples = 0;
  };
  struct Size {
    std::array<Way, 2> ways;  // without, with overlap
    int64_t layers = 0;
  };
  static bool better(const Size& size);

  OverlapMode mode_;
  std::array<Size, 24> sizes_;  // by the logarithm of the rows
  Size* size_ = nullptr;
  bool overlap_ = false;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_OVERLAP_MODEL_H_
