#ifndef CONCLAVE_CLI_PLACEMENT_INPUT_H_
#define CONCLAVE_CLI_PLACEMENT_INPUT_H_

// What `place`, `profile` and `simulate` read: a profile or a trace, a model or a shape, a cluster.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "expert_placement/cluster/cluster_spec.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/solve.h"
#include "model/model_spec.h"

namespace CLI {
class App;
}

namespace conclave::cli {

struct PlacementInputOptions {
  std::string profile, trace, model, cluster;
  int32_t ranks = 0;
  int32_t nodes = 1;
  int32_t hold_out = 0;  // every n-th sequence of the trace is test; 0: none
};
void add_routing_flags(CLI::App& app,
                       PlacementInputOptions* options);  // --profile --trace --model --hold-out
void add_cluster_flags(CLI::App& app, PlacementInputOptions* options);  // --ranks --nodes --cluster

// A model folder or a shape file (bench/shapes).
struct NamedModel {
  model::ModelSpec spec;
  std::string fingerprint;  // of a folder with weights
};
absl::StatusOr<NamedModel> read_model_or_shape(const std::string& path);

struct PlacementInput {
  placement::RoutingProfile profile;
  std::optional<placement::RoutingRows> test;  // held-out sequences
  std::optional<NamedModel> model;
};
absl::StatusOr<PlacementInput> read_routing(const PlacementInputOptions& options);
absl::StatusOr<placement::ClusterSpec> read_cluster(const PlacementInputOptions& options);
// Sizes of the model, of a shape like the demo model's without one. batch: tokens of a step.
placement::ExpertCost expert_cost(const std::optional<NamedModel>& model, double batch);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_PLACEMENT_INPUT_H_
