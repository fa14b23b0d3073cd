#ifndef CONCLAVE_EXPERT_PLACEMENT_SOLVER_EVALUATION_H_
#define CONCLAVE_EXPERT_PLACEMENT_SOLVER_EVALUATION_H_

// A Problem made ready: limits worked out once, tables judged by the one evaluator.

#include <cstdint>
#include <vector>

#include "expert_placement/replicas/replica_state.h"
#include "expert_placement/solve.h"
#include "expert_placement/sweeps/chain_instance.h"

namespace conclave::placement {

class Evaluation {
 public:
  // INVALID_ARGUMENT with a sentence for what solve() refuses. problem outlives the evaluation.
  static absl::StatusOr<Evaluation> create(const Problem& problem);

  // The table with the cluster's nodes, which decide which copy is the nearest.
  PlacementTable on_nodes(PlacementTable table) const;
  // The value to be made small, in the unit that Objective names.
  double objective(const PlacementTable& table) const;
  // Slots, memory and balance cap hold.
  bool allowed(const PlacementTable& table) const;
  bool obeys_cap(const PlacementTable& table) const;
  // Single copies, balanced as well as slots allow; always allowed.
  Assignment balanced_start() const;
  PlacementTable table_of(const Assignment& assignment) const;
  ReplicaLimits replica_limits() const;
  std::vector<double> caps() const;  // [layers] as max / mean
  // Value of a proven bound on kept weight as a bound on objective(); transitions only.
  double crossing_bound(double kept) const;

  const Problem& problem() const { return *problem_; }
  const ChainInstance& instance() const { return instance_; }
  const RoutingRows& rows() const { return rows_; }  // real ones if the profile has a sample
  int32_t slots() const { return slots_; }           // one rank, one layer, without extra copies
  bool wants_replicas() const { return extra_per_rank_ > 0; }

 private:
  explicit Evaluation(const Problem& problem) : problem_(&problem) {}
  absl::Status set_limits();

  const Problem* problem_;
  ChainInstance instance_;
  std::vector<BalancedLayer> balanced_;  // [layers]
  RoutingRows rows_;
  int32_t slots_ = 0;
  int64_t extra_per_rank_ = 0;
  int32_t extra_slots_ = 0;
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SOLVER_EVALUATION_H_
