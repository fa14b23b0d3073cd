#ifndef CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_RANK_FIGURES_H_
#define CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_RANK_FIGURES_H_

// The speed of a rank, found from steps that one rank was seen to take.

#include <span>

#include "expert_placement/simulator/step_simulator.h"

namespace conclave::placement {

// A decode step of one rank.
struct MeasuredStep {
  double batch = 1;    // tokens
  double context = 0;  // tokens of K/V each of them attends to
  double seconds = 0;
};

// The cluster of one rank, with input's links and step overhead, whose flops_per_s,
// weight_bytes_per_s and layer_overhead_s make simulate_step() come nearest to the measured steps
// (least squares of the logarithms). input's table must be of one rank; its batch and context are
// not looked at. Needs steps, better three of them or more: small ones tell the overhead, large
// ones the arithmetic.
ClusterSpec fit_rank(const SimulationInput& input, std::span<const MeasuredStep> steps);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_RANK_FIGURES_H_
