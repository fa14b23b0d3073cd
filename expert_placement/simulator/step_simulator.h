#ifndef CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_STEP_SIMULATOR_H_
#define CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_STEP_SIMULATOR_H_

// Predicted time, traffic and balance of one decode step on a two-level cluster, from recorded
// routing. Messages and rows are counted, not modelled: for the same rows, homes and table they
// equal a run's counters.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "expert_placement/cluster/cluster_spec.h"
#include "expert_placement/objective/step_time.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/simulator/sampled_steps.h"
#include "model/model_spec.h"

namespace conclave::placement {

struct SimulationInput {
  const RoutingRows* rows = nullptr;     // [rows]: recorded routing of the model
  std::span<const int32_t> home_of_row;  // [rows]
  const PlacementTable* table = nullptr;
  const model::ModelSpec* spec = nullptr;
  ClusterSpec cluster;
  Plan plan = Plan::kFixed;
  double batch = 64;     // tokens of the step over all ranks
  double context = 512;  // tokens of K/V that each of them attends to
  double weight_bytes =
      2;  // of one weight as stored; activations, K/V and rows on the wire take as much
};

struct SimulatedStep {
  double attention_s = 0;   // projections and K/V reading, all layers
  double experts_s = 0;     // fullest rank, all layers, shared expert included
  double exchange_s = 0;    // dispatch and combine, all layers
  double kv_publish_s = 0;  // coherent: the step's K/V to every rank
  double head_s = 0;
  double overhead_s = 0;  // ClusterSpec's: of all layers, of the step, of its tokens
  double total_s() const {
    return attention_s + experts_s + exchange_s + kv_publish_s + head_s + overhead_s;
  }
  double bytes_in_nodes = 0, bytes_between_nodes = 0;  // of the exchange and the K/V, per step
  double kv_bytes_per_token = 0;                       // over all ranks: coherent holds K/V on each
  double worst_balance = 1;
  Traffic traffic;  // of all recorded rows
};
// What a step sends and computes is counted once; its time on faster or slower machines is then
// cheap.
class CountedStep {
 public:
  // What input points at must outlive it.
  explicit CountedStep(const SimulationInput& input);
  // Nodes and ranks must be those of input.cluster.
  SimulatedStep at(const ClusterSpec& cluster) const;

 private:
  SimulationInput input_;
  Traffic traffic_;
  std::vector<int32_t> node_of_;
  std::optional<SampledSteps> samples_;  // absent without rows
};
SimulatedStep simulate_step(const SimulationInput& input);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SIMULATOR_STEP_SIMULATOR_H_
