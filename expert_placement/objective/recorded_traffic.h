#ifndef CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_RECORDED_TRAFFIC_H_
#define CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_RECORDED_TRAFFIC_H_

// What a recorded run sent, counted by the evaluator (traffic.h) from its routing alone. Equal to
// the run's own counters, /metrics' conclave_exchange_messages_total and …_bytes_total, message by
// message and byte by byte.

#include <array>
#include <cstdint>

#include "absl/status/statusor.h"
#include "expert_placement/profile/routing_recording.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

struct TrafficSum {
  int64_t messages = 0;
  int64_t bytes = 0;
  bool operator==(const TrafficSum&) const = default;
};

struct RunTraffic {
  enum Direction { kDispatch = 0, kReturn = 1, kKeyValue = 2 };
  // [fixed, coherent][direction]; published K/V counts under coherent.
  std::array<std::array<TrafficSum, 3>, 2> sums;
  std::array<int64_t, 2> rows{};  // [fixed, coherent]
};

// other: counts as if this table had been in force all the time, with the homes that the rows had.
// INVALID_ARGUMENT: it is of another model or number of ranks.
absl::StatusOr<RunTraffic> count_recorded(const RoutingRecording& recording,
                                          const PlacementTable* other = nullptr);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_RECORDED_TRAFFIC_H_
