#ifndef CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_SAMPLED_STEPS_H_
#define CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_SAMPLED_STEPS_H_

// Steps made of recorded rows. In every layer all ranks wait for the one that has most to do *in
// that step*; over many steps each rank may have its share, and still the waiting adds up. So the
// time of a step is the mean over steps of what the fullest rank takes, not what the rank takes
// that is fullest on average.

#include <cstdint>
#include <span>
#include <vector>

#include "expert_placement/cluster/cluster_spec.h"
#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/solve.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

class SampledSteps {
 public:
  struct Input {
    const RoutingRows* rows = nullptr;     // at least one
    std::span<const int32_t> home_of_row;  // [rows]
    const PlacementTable* table = nullptr;
    std::span<const int32_t> node_of;  // [ranks]
    Plan plan = Plan::kFixed;
    int64_t tokens = 1;    // of a step; spread over the ranks as evenly as it goes
    double move_rows = 0;  // what a token that changes its rank adds to its dispatch, in rows
    uint64_t seed = 1;
  };
  // Draws steps; the same ones for the same input.
  explicit SampledSteps(const Input& input);

  // Mean seconds of a step, all MoE layers together.
  struct Seconds {
    double experts = 0;  // the slower of arithmetic and reading weights, on the fullest rank
    double dispatch = 0;
    double combine = 0;
  };
  // The same nodes as were drawn for. A leg's latency is paid whether or not a rank has rows to
  // send: an exchange is one of all ranks.
  Seconds seconds(const ClusterSpec& cluster, const ExpertCost& cost) const;

 private:
  // Rows sent and received by one rank in one leg, [inside its node, beyond it].
  struct Leg {
    double out[2] = {0, 0};
    double in[2] = {0, 0};
  };
  struct Rank {
    double pairs = 0;   // (token, expert) pairs served
    double active = 0;  // experts that serve any
    Leg dispatch, combine;
  };
  class Counter;
  static double leg_seconds(const Leg& leg, double row_bytes, const ClusterSpec& cluster);

  int32_t ranks_ = 0;
  int64_t steps_ = 0;
  std::vector<Rank> counts_;  // [steps, layers, ranks]
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_SAMPLED_STEPS_H_
