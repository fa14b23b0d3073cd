#ifndef CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_RECORDING_H_
#define CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_RECORDING_H_

// Every row that a cluster computed for a while: what its routers chose, where the row was, which
// table was in force. The file is a routing trace (routing_rows.h) with more tensors, so whatever
// reads traces reads it; with them, what the run sent can be counted again exactly.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

// How a row was computed.
enum class RowPlan : uint8_t {
  kFixed = 0,      // at its home
  kCoherent = 1,   // followed its leading experts from its home on; its K/V went to every rank
  kPublished = 2,  // at its home, and its K/V went to every rank: a prompt in a coherent group
};

// Bytes of what travels.
struct WireSizes {
  int64_t row = 0;        // of one hidden row, as dispatched and returned
  int64_t state = 0;      // of what moves with a token that changes its rank
  int64_t key_value = 0;  // of one row's published K and V in one layer
  bool operator==(const WireSizes&) const = default;
};

struct RoutingRecording {
  RoutingRows rows;               // by sequence, then in the order of computing
  std::vector<int64_t> step;      // [rows] of the group
  std::vector<int32_t> position;  // [rows] in the sequence; one that was preempted repeats some
  std::vector<int32_t> home;      // [rows] the rank where the row began
  std::vector<RowPlan> plan;      // [rows]
  std::vector<int32_t> table;     // [rows] index into tables
  std::vector<PlacementTable> tables;
  int32_t layers = 0;  // of the model, dense ones included
  WireSizes wire;
  std::string model_fingerprint;
  bool complete = true;  // false: more was computed than there was room for
};

absl::Status save_recording(const RoutingRecording& recording, const std::string& path);
// INVALID_ARGUMENT with one sentence: no recording, or one that does not fit together.
absl::StatusOr<RoutingRecording> load_recording(const std::string& path);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_PROFILE_ROUTING_RECORDING_H_
