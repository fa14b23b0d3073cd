#ifndef CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_ROWS_H_
#define CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_ROWS_H_

// Which experts each token used, token by token: what a trace file holds and what a profile
// samples.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::placement {

// Plain value. Rows of one sequence are consecutive and in the order of their positions.
struct RoutingRows {
  int32_t layers = 0;  // MoE layers
  int32_t experts = 0;
  int32_t top_k = 0;
  std::vector<uint16_t> chosen;   // [rows, layers, top_k], highest weight first
  std::vector<int32_t> sequence;  // [rows]

  int64_t rows() const { return static_cast<int64_t>(sequence.size()); }
  std::span<const uint16_t> at(int64_t row, int32_t layer) const {
    const size_t k = static_cast<size_t>(top_k);
    return std::span(chosen).subspan(
        (static_cast<size_t>(row) * static_cast<size_t>(layers) + static_cast<size_t>(layer)) * k,
        k);
  }
  uint16_t leader(int64_t row, int32_t layer) const { return at(row, layer)[0]; }
};

// The rows that keep says yes to, by sequence number.
RoutingRows select_sequences(const RoutingRows& rows, const std::function<bool(int32_t)>& keep);
// Whole sequences, evenly spread, about max_rows rows of them; all if there are no more.
RoutingRows thin_rows(const RoutingRows& rows, int64_t max_rows);
// Every n-th sequence is test, the others profile; the order of sequence numbers decides.
struct SplitRows {
  RoutingRows profile, test;
};
SplitRows hold_out(const RoutingRows& rows, int32_t every_nth);

// Reads `experts` U8/U16/I32 [tokens, layers, k] (highest weight first) and `sequence` I32 [tokens]
// of a safetensors trace; the metadata key "experts" gives E. INVALID_ARGUMENT with one sentence
// for a file that is no trace, ids out of range or an expert named twice in a row.
absl::StatusOr<RoutingRows> read_trace(const std::string& path);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_ROWS_H_
